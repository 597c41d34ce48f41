/** Talking to a session of the harness. */
import { type Dialogue, Stage } from "./harness.ts";

export const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Sends bytes and gives what came back once nothing more comes. */
export async function say(dialogue: Dialogue, text: string, pieces = 0): Promise<string> {
  dialogue.output = "";
  const bytes = Buffer.from(text, "latin1");
  if (pieces === 0) {
    if (!dialogue.closed) dialogue.channel.onData(bytes);
  } else
    for (let at = 0; at < bytes.length && !dialogue.closed; at += pieces) {
      dialogue.channel.onData(Buffer.from(bytes.subarray(at, at + pieces)));
      await new Promise((resolve) => setImmediate(resolve));
    }
  let before = -1;
  for (let quiet = 0; quiet < 4; ) {
    await pause(2);
    if (dialogue.output.length === before) quiet++;
    else quiet = 0;
    before = dialogue.output.length;
  }
  return dialogue.output;
}

export const line = (dialogue: Dialogue, command: string): Promise<string> =>
  say(dialogue, `${command}\r\n`).then((reply) => reply.trimEnd());

export async function begin(
  config: Record<string, string> = {},
  address = "127.0.0.1",
  standAlone = false,
): Promise<[Stage, Dialogue]> {
  const stage = await Stage.open(
    { smtpd_hard_error_limit: "1000", smtpd_soft_error_limit: "1000", ...config },
    standAlone,
  );
  const dialogue = stage.connect(address);
  await say(dialogue, "");
  await line(dialogue, "EHLO client.test");
  return [stage, dialogue];
}

export async function envelope(dialogue: Dialogue): Promise<void> {
  await line(dialogue, "MAIL FROM:<a@good.test>");
  await line(dialogue, "RCPT TO:<user@mail.example.com>");
}
