import t from "tap";
import { tableNames, withoutProxy } from "../../../cmd/proxymap/approved.ts";
import { Requests } from "../../../cmd/proxymap/requests.ts";
import { configurationFromText, installConfiguration } from "../../../lib/config/configuration.ts";
import { setLogSinks } from "../../../lib/log/log.ts";
import { Channel } from "../../../lib/sys/channel.ts";
import { allowSurrogates } from "../../../lib/tables/policy.ts";

const configure = (text: string): void =>
  installConfiguration(configurationFromText(`compatibility_level = 3.11\n${text}`));
const lines: string[] = [];
setLogSinks([(event) => lines.push(event.text)]);
allowSurrogates(true);

/** A connection whose requests are given as text with `|` for NUL; gives the replies in the same form. */
async function converse(requests: Requests, ...sent: string[]): Promise<string[]> {
  const replies: string[] = [];
  for (const text of sent) {
    let output = "";
    const channel = new Channel("proxymap socket");
    channel.attach({
      write: (bytes) => {
        output += Buffer.from(bytes).toString("latin1");
        return bytes.length;
      },
      end: () => {},
      terminate: () => {},
      pause: () => {},
      resume: () => {},
    });
    channel.onData(Buffer.from(text.replaceAll("|", "\0"), "latin1"));
    const alive = await requests.serve(channel);
    await channel.flush();
    replies.push(alive ? output.replaceAll("\0", "|") : "closed");
  }
  return replies;
}

t.test("approved tables are those with proxy:", async (t) => {
  configure(
    `proxy_read_maps = proxy:unix:passwd.byname, { proxy:inline:{a=b} x y }, hash:/etc/x $more
      unionmap:{proxy:static:a, inline:{c=d}} proxy:proxy:static:two #nothing
    more = proxy:texthash:/tmp/t
    smtpd_restriction_classes = cls
    cls = check_recipient_access proxy:inline:{r=REJECT}
`.replace(/\n {4}(\w)/g, "\n$1"),
  );
  t.same([...tableNames("proxymap").approved].sort(), [
    "inline:{a=b}",
    "inline:{r=REJECT}",
    "static:a",
    "static:two",
    "texthash:/tmp/t",
    "unix:passwd.byname",
  ]);
  t.ok(tableNames("proxymap").all.has("hash:/etc/x"));
  t.equal(withoutProxy("proxy:proxy:a:b"), "a:b");
});

t.test("requests and replies as on the wire", async (t) => {
  const table = "inline:{{root=x y}, Q=z}";
  const requests = new Requests("proxymap", new Set([table, "fail:a", "inline:bad", "static:{}"]));
  const open = `request|open|table|${table}|instance_flags|540737||`;
  const lookup = (key: string, name = table): string =>
    `request|lookup|table|${name}|instance_flags|540737|flags|1589329|key|${key}||`;
  t.same(await converse(requests, open, lookup("root"), lookup("ROOT"), lookup("q"), lookup("none")), [
    "status|0|flags|1589329||",
    "status|0|flags|1589329|value|x y||",
    "status|0|flags|1589329|value|x y||",
    "status|0|flags|1589329|value|z||",
    "status|1|flags|1589329|value|||",
  ]);
  t.match(
    await converse(requests, lookup("a", "fail:a"), lookup("a", "inline:bad"), lookup("a", "static:{}")),
    [
      /^status\|2\|flags\|\d+\|value\|\|\|$/,
      /^status\|2\|flags\|\d+\|value\|\|\|$/,
      /^status\|0\|flags\|\d+\|value\|\|\|$/,
    ],
  );
  lines.length = 0;
  t.same(await converse(requests, lookup("a", "inline:{x=y}"), lookup("a", "nocolon")), [
    "status|4|flags|0|value|||",
    "status|3|flags|0|value|||",
  ]);
  t.same(lines, [
    'request for unapproved table: "inline:{x=y}"',
    "to approve this table for read-only access, list proxy:inline:{x=y} in main.cf:proxy_read_maps",
  ]);
  lines.length = 0;
  t.same(
    await converse(
      requests,
      `request|update|table|${table}|instance_flags|0|flags|0|key|k|value|v||`,
      "request|what|ever|1||",
      "garbage|x||",
      "||",
    ),
    ["status|4|flags|0||", "status|3||", "closed", "closed"],
  );
  t.equal(lines[0], `refusing ${table} update request on non-proxywrite service`);
  t.equal(lines[1], 'unrecognized request: "what", ignored');
});

t.test("proxywrite changes tables", async (t) => {
  configure("");
  const requests = new Requests("proxywrite", new Set(["internal:cache"]));
  const head = "table|internal:cache|instance_flags|64|flags|80";
  t.match(
    await converse(
      requests,
      `request|update|${head}|key|k|value|v||`,
      `request|lookup|${head}|key|k||`,
      `request|sequence|${head}|function|0||`,
      `request|sequence|${head}|function|1||`,
      `request|delete|${head}|key|k||`,
      `request|delete|${head}|key|k||`,
    ),
    [
      /^status\|0\|/,
      /\|value\|v\|\|$/,
      /^status\|0\|flags\|\d+\|key\|k\|value\|v\|\|$/,
      /^status\|1\|/,
      /^status\|0\|/,
      /^status\|1\|/,
    ],
  );
});

t.test("IPC-15 unapproved tables are refused, and clients that share a table do not mix", async (t) => {
  configure("");
  const table = "inline:{{root=x}}";
  const requests = new Requests("proxymap", new Set([table, "fail:a"]));
  const lookup = (name: string, flags: number): string =>
    `request|lookup|table|${name}|instance_flags|64|flags|${flags}|key|root||`;
  for (const name of [
    "hash:/etc/shadow-like",
    "texthash:/etc/passwd",
    `proxy:proxy:texthash:/etc/passwd`,
    "inline:{root=x}",
    "static:x",
    `${table} `,
  ])
    t.same(await converse(requests, lookup(name, 64)), ["status|4|flags|0|value|||"], name);
  const flags = [64, 4160, 80, 64];
  const replies = await Promise.all(
    flags.flatMap((one) => [
      converse(requests, lookup(table, one)),
      converse(requests, lookup("fail:a", one)),
    ]),
  );
  t.same(
    replies.flat(),
    flags.flatMap((one) => [`status|0|flags|${one}|value|x||`, `status|2|flags|${one}|value|||`]),
  );
});
