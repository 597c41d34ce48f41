/** debug_peer_list: the dialogue with some clients is logged, that with others is not. */
import t from "tap";
import { Stage } from "./harness.ts";

const dialogueLines = async (stage: Stage, address: string): Promise<string[]> => {
  stage.log.length = 0;
  const dialogue = stage.connect(address);
  while (dialogue.output === "") await new Promise((resolve) => setImmediate(resolve));
  dialogue.channel.onData(Buffer.from("QUIT\r\n"));
  dialogue.channel.onEnd();
  await dialogue.finished;
  return stage.log.filter((line) => /^[<>] /.test(line));
};

t.test("debug_peer_list", async (t) => {
  const stage = await Stage.open({ debug_peer_list: "192.0.2.77" });
  t.same(await dialogueLines(stage, "192.0.2.78"), []);
  t.same(await dialogueLines(stage, "192.0.2.77"), [
    "> unknown[192.0.2.77]: 220 mail.example.com ESMTP Postfix",
    "< unknown[192.0.2.77]: QUIT",
    "> unknown[192.0.2.77]: 221 2.0.0 Bye",
  ]);
});
