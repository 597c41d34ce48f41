/** Standard output, gathered in larger writes; complete also when the program ends by an error. */
import { print } from "../daemon/command.ts";
import { onDeath } from "../log/log.ts";

const GATHER = 65536;

export class Output {
  private parts: string[] = [];
  private size = 0;

  open(): void {
    onDeath(() => this.flush());
  }
  write(text: string): void {
    this.parts.push(text);
    this.size += text.length;
    if (this.size >= GATHER) this.flush();
  }
  flush(): void {
    if (this.size === 0) return;
    const text = this.parts.join("");
    this.parts = [];
    this.size = 0;
    print(text);
  }
}
