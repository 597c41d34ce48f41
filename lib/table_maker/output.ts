/** Standard output, gathered in larger writes; complete also when the program ends by an error. */
import { print } from "../daemon/command.ts";
import { onDeath } from "../log/log.ts";

const GATHER = 65536;

export class Output {
  private text = "";

  open(): void {
    onDeath(() => this.flush());
  }
  write(text: string): void {
    this.text += text;
    if (this.text.length >= GATHER) this.flush();
  }
  flush(): void {
    if (this.text === "") return;
    const { text } = this;
    this.text = "";
    print(text);
  }
}
