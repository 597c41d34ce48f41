import t from "tap";
import { checked, configurationOf, logged, readVectors } from "./support.ts";
import { warning } from "../../../lib/log/log.ts";
import { configurationFromText } from "../../../lib/config/configuration.ts";
import { cleanEnvironment, updateEnvironment } from "../../../lib/config/environment.ts";

/** These fail in what a program does after the general checks. */
const LATER = new Set(["unbalanced braces in import_environment"]);

t.test("what every program checks", async (t) => {
  for (const { name, files, expect } of readVectors("values")) {
    if (LATER.has(name)) continue;
    const { lines } = logged(() => {
      const { configuration, warnings } = configurationOf(files["conf/main.cf"] ?? "");
      for (const text of warnings) warning(text);
      checked(configuration);
    });
    const expected = expect.stderr === "" ? [] : expect.stderr.replace(/\n$/, "").split("\n");
    t.same(
      lines.map((line) => `postmap: ${line}`),
      expected,
      name,
    );
  }
});

t.test("typed values", async (t) => {
  const configuration = configurationFromText(
    "max_idle = 1h\nsoft_bounce = YES\nmessage_size_limit = 99999999999\nluser_relay = $user\nmax_use = ${n}0\nn = 5\n" +
      "smtp_destination_rate_delay = 5\nslow_client_limit = 3\n",
  );
  t.equal(configuration.get("max_idle"), 3600);
  t.equal(configuration.get("soft_bounce"), true);
  t.equal(configuration.get("message_size_limit"), 99999999999);
  t.equal(configuration.get("luser_relay"), "$user");
  t.equal(configuration.get("max_use"), 50);
  t.equal(configuration.get("smtpd_timeout"), 300);
  t.equal(configuration.with(new Map([["stress", "yes"]])).get("smtpd_timeout"), 10);
  t.equal(configuration.lookup("n"), "5");
  t.equal(configuration.lookup("nothing"), undefined);
  t.equal(configuration.transportParameter("smtp", "_destination_concurrency_limit"), 20);
  t.equal(configuration.transportParameter("local", "_destination_concurrency_limit"), 2);
  t.equal(configuration.transportParameter("local", "_destination_recipient_limit"), 1);
  t.equal(configuration.transportParameter("smtp", "_destination_rate_delay"), 5);
  t.equal(configuration.transportParameter("smtp", "_destination_concurrency_positive_feedback"), "1");
  t.equal(configuration.serviceParameter("slow", "_client_limit"), 3);
  t.equal(configuration.serviceParameter("other", "_client_limit"), 100);
  t.equal(configuration.serviceParameter("other", "_time_limit"), 1000);
});

t.test("environment lists", async (t) => {
  const current = new Map([
    ["TZ", "UTC"],
    ["HOME", "/root"],
  ]);
  const list = "TZ LANG=C, { A = b c } MISSING";
  t.same(cleanEnvironment("import_environment", list, current, false), new Map([["TZ", "UTC"], ["LANG", "C"], ["A", "b c"]]));
  t.same(cleanEnvironment("import_environment", list, current, true), new Map([["LANG", "C"], ["A", "b c"]]));
  t.same(updateEnvironment("import_environment", list, current), new Map([...current, ["LANG", "C"], ["A", "b c"]]));
  t.throws(() => updateEnvironment("import_environment", "{ A=b", current), { message: `import_environment: missing '}' in "{ A=b"` });
  t.throws(() => cleanEnvironment("import_environment", "=x", current), { message: "clean_env: missing attribute name in: =x" });
});
