/** The simplest SMTP client: one message, one step after the other. For the demonstration and for tests. Runs on Node and Bun. */
import { connect } from "node:net";

const STEP_MILLISECONDS = 60_000;

/** Sends a message (lines with CRLF) and returns the reply to its end. Throws when a step is refused. */
export async function sendMail(
  port: number,
  from: string,
  to: string | ReadonlyArray<string>,
  text: string,
): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  socket.setEncoding("latin1");
  let buffered = "";
  let wake: (() => void) | undefined;
  let failure: Error | undefined;
  socket.on("data", (chunk: string) => {
    buffered += chunk;
    wake?.();
  });
  socket.on("error", (error) => {
    failure = error;
    wake?.();
  });
  socket.on("close", () => {
    failure ??= new Error("connection closed");
    wake?.();
  });
  socket.setTimeout(STEP_MILLISECONDS, () => socket.destroy(new Error("timeout")));

  let last = "nothing";
  const reply = async (expected: string): Promise<string> => {
    for (;;) {
      const match = /^(?:\d{3}-[^\n]*\n)*(\d{3} [^\r\n]*)\r?\n/.exec(buffered);
      if (match !== null) {
        buffered = buffered.slice(match[0].length);
        const line = match[1] ?? "";
        if (!line.startsWith(expected)) throw new Error(`expected ${expected}, got ${line}`);
        last = line;
        return line;
      }
      if (failure !== undefined)
        throw new Error(`${failure.message} while waiting for ${expected}, after ${last}`);
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  const step = (line: string, expected: string): Promise<string> => {
    socket.write(`${line}\r\n`, "latin1");
    return reply(expected);
  };

  try {
    await reply("220");
    await step("EHLO client.posthaste.test", "250");
    await step(`MAIL FROM:<${from}>`, "250");
    for (const recipient of typeof to === "string" ? [to] : to) await step(`RCPT TO:<${recipient}>`, "250");
    await step("DATA", "354");
    const stuffed = text.replace(/^\./gm, "..");
    const answer = await step(`${stuffed}.`, "250");
    await step("QUIT", "221");
    return answer;
  } finally {
    socket.destroy();
  }
}
