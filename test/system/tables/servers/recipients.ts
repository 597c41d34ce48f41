/** Asks an SMTP server about recipients. Run by itself it takes a port and JSON, and prints the replies as JSON: PORT [{"sender": ..., "recipients": [...]}]. */
import { createConnection } from "node:net";

export interface Question {
  readonly sender: string;
  readonly recipients: ReadonlyArray<string>;
}

/** For each question the replies to its recipients. */
export async function askRecipients(port: number, questions: ReadonlyArray<Question>): Promise<string[][]> {
  const socket = createConnection({ host: "127.0.0.1", port });
  socket.setEncoding("latin1");
  let buffered = "";
  let wake = (): void => {};
  socket.on("data", (text: string) => {
    buffered += text;
    wake();
  });
  socket.on("error", () => wake());
  socket.on("close", () => wake());
  const reply = async (): Promise<string> => {
    for (;;) {
      const match = /^(?:\d{3}-.*\r\n)*(\d{3} .*)\r\n/.exec(buffered);
      if (match !== null) {
        buffered = buffered.slice(match[0].length);
        return match[1] ?? "";
      }
      if (socket.destroyed) throw new Error("the server has closed the connection");
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  const command = async (text: string): Promise<string> => {
    socket.write(`${text}\r\n`);
    return await reply();
  };
  await reply();
  await command("EHLO client.test");
  const replies: string[][] = [];
  for (const { sender, recipients } of questions) {
    await command(`MAIL FROM:<${sender}>`);
    const answers: string[] = [];
    for (const address of recipients) answers.push(await command(`RCPT TO:<${address}>`));
    replies.push(answers);
    await command("RSET");
  }
  socket.end("QUIT\r\n");
  return replies;
}

if (process.argv[1] === import.meta.filename)
  console.log(
    JSON.stringify(await askRecipients(Number(process.argv[2]), JSON.parse(process.argv[3] ?? "[]"))),
  );
