import t from "tap";
import { configurationFromText } from "../../../lib/config/configuration.ts";
import { cleanEnvironment, updateEnvironment } from "../../../lib/config/environment.ts";
import { formatInet, parseInet } from "../../../lib/config/inet.ts";
import {
  defaultNetworks,
  type Interfaces,
  machineAddresses,
  type OwnAddress,
} from "../../../lib/config/interfaces.ts";
import { warning } from "../../../lib/log/log.ts";
import { checked, configurationOf, logged, readVectors } from "./support.ts";

/** These fail in what a program does after the general checks. */
const LATER = new Set(["unbalanced braces in import_environment"]);
/** The system's resolver is asked by a program, which Node cannot start as we do: test/interop/command_lines.test.ts has these. */
const ASKING = new Set(["inet_interfaces unknown"]);

t.test("what every program checks", async (t) => {
  for (const { name, files, expect } of readVectors("values")) {
    if (LATER.has(name) || ASKING.has(name)) continue;
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
  t.equal(configuration.serviceParameter("other", "_client_limit"), 200);
  t.equal(configuration.serviceParameter("other", "_time_limit"), 1000);
});

t.test("IPC-18 environment lists", async (t) => {
  const current = new Map([
    ["TZ", "UTC"],
    ["HOME", "/root"],
  ]);
  const list = "TZ LANG=C, { A = b c } MISSING";
  t.same(
    cleanEnvironment("import_environment", list, current, false),
    new Map([
      ["TZ", "UTC"],
      ["LANG", "C"],
      ["A", "b c"],
    ]),
  );
  t.same(
    cleanEnvironment("import_environment", list, current, true),
    new Map([
      ["LANG", "C"],
      ["A", "b c"],
    ]),
  );
  t.same(
    updateEnvironment("import_environment", list, current),
    new Map([...current, ["LANG", "C"], ["A", "b c"]]),
  );
  t.throws(() => updateEnvironment("import_environment", "{ A=b", current), {
    message: `import_environment: missing '}' in "{ A=b"`,
  });
  t.throws(() => cleanEnvironment("import_environment", "=x", current), {
    message: "clean_env: missing attribute name in: =x",
  });
});

t.test("corners of values, from a run of Postfix 3.11.7", async (t) => {
  const cases: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [
    ["ipc_timeout = +5", []],
    ["ipc_timeout = -0", ["fatal: invalid ipc_timeout: 0 (min 1)"]],
    ["ipc_timeout = 0x5", ["fatal: parameter ipc_timeout: bad time value or unit: 0x5"]],
    ["ipc_timeout = 2147483648", ["fatal: parameter ipc_timeout: bad time value or unit: 2147483648"]],
    ["line_length_limit = ${x}+2048", []],
    ["mydomain = $myhostname", []],
    [
      "mydomain = a b",
      [
        "warning: valid_hostname: invalid character 32(decimal): a b",
        "fatal: file conf/main.cf: parameter mydomain: bad parameter value: a b",
      ],
    ],
    ["inet_protocols =", []],
    ["inet_interfaces =", []],
    ["inet_interfaces = localhost, 127.0.0.1", []],
    ["inet_interfaces = [127.0.0.1]", []],
    [
      "inet_protocols=ipv4\ninet_interfaces = ::1",
      ["fatal: config variable inet_interfaces: host not found: ::1"],
    ],
    [
      "mynetworks_style = subnet host",
      ["fatal: bad mynetworks_style value: subnet host; specify exactly one value"],
    ],
    ["mynetworks_style = SUBNET", ['fatal: unknown mynetworks mask style value "SUBNET" in "SUBNET"']],
    [
      "relayhost = H.example.com",
      ["fatal: myhostname and relayhost parameter settings must not be identical: h.example.com"],
    ],
    [
      "known_tcp_ports = a=b,c,=5,d=,6=7, x y=8, z= 1 2,q=w=5,q=6",
      [
        'warning: known_tcp_ports: in "a=b": non-numerical service port',
        'warning: known_tcp_ports: in "c" is not in "name = value" form',
        'warning: known_tcp_ports: in "=5": missing service name before "="',
        'warning: known_tcp_ports: in "d=": missing port value after "="',
        'warning: known_tcp_ports: in "6=7": numerical service name',
        'warning: known_tcp_ports: in " x y=8": whitespace in service name',
        'warning: known_tcp_ports: in " z= 1 2": whitespace in port number',
        'warning: known_tcp_ports: in "q=6": duplicate service name',
      ],
    ],
    ["message_size_limit = 9223372036854775807", []],
    [
      "message_size_limit = 9223372036854775808",
      ["fatal: bad numerical configuration: message_size_limit = 9223372036854775808"],
    ],
    [
      "setgid_group = postfix",
      [
        "fatal: file conf/main.cf: parameters mail_owner and setgid_group: user postfix and group postfix have the same group ID: 105",
      ],
    ],
    [
      "default_privs = postfix",
      ["fatal: file conf/main.cf: parameters default_privs and mail_owner specify the same user postfix"],
    ],
  ];
  for (const [text, expected] of cases) {
    const { configuration } = configurationOf(
      `compatibility_level=3.11\nmyhostname=h.example.com\n${text}\n`,
    );
    t.same(logged(() => checked(configuration)).lines, expected, text);
  }
});

t.test("mynetworks by style", async (t) => {
  const own = (address: string, prefix: number): OwnAddress => ({
    address,
    bytes: parseInet(address) ?? new Uint8Array(4),
    prefix,
  });
  const addresses = [
    own("127.0.0.1", 8),
    own("192.0.2.77", 24),
    own("10.1.2.3", 20),
    own("192.0.2.78", 24),
    own("::1", 128),
    own("fd00::2", 64),
  ];
  t.equal(
    defaultNetworks("subnet", () => addresses),
    "127.0.0.0/8 192.0.2.0/24 10.1.0.0/20 [::1]/128 [fd00::]/64 ",
  );
  t.equal(
    defaultNetworks("class", () => addresses),
    "127.0.0.0/8 192.0.2.0/24 10.0.0.0/8 [::1]/128 [fd00::]/64 ",
  );
  t.equal(
    defaultNetworks("host", () => addresses.slice(1, 2)),
    "192.0.2.77/32 ",
  );
});

t.test("SMTPD-30 an interface that says little makes nobody a neighbour", async (t) => {
  const both = { ipv4: true, ipv6: true };
  const networks = (list: Interfaces): string =>
    defaultNetworks("subnet", () => machineAddresses(both, () => list));
  t.equal(networks({}), "");
  for (const netmask of ["0.0.0.0", "", "nonsense", "::", "ffff::"])
    t.equal(networks({ ppp0: [{ address: "192.0.2.1", netmask }] }), "192.0.2.1/32 ", netmask);
  for (const netmask of ["::", "", "255.255.255.0"])
    t.equal(networks({ tun0: [{ address: "2001:db8::1", netmask }] }), "[2001:db8::1]/128 ", netmask);
  t.equal(
    networks({
      any: [
        { address: "0.0.0.0", netmask: "0.0.0.0" },
        { address: "x", netmask: "y" },
      ],
    }),
    "",
  );
  const failing = (): never => {
    throw new Error("EMFILE: too many open files");
  };
  t.throws(() => machineAddresses(both, failing), { message: /^cannot list network interfaces: EMFILE/ });
});

t.test("addresses as text", async (t) => {
  for (const [text, canonical] of [
    ["::", "::"],
    ["1:0:0:2:0:0:0:3", "1:0:0:2::3"],
    ["0:0:1:0:0:0:0:0", "0:0:1::"],
    ["::ffff:192.0.2.1", "::ffff:192.0.2.1"],
    ["2001:DB8::1", "2001:db8::1"],
    ["1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"],
    ["1:0:3:4:5:6:7:8", "1:0:3:4:5:6:7:8"],
  ] as const)
    t.equal(formatInet(parseInet(text) ?? new Uint8Array()), canonical, text);
  for (const text of [
    "1::2::3",
    "1:2:3",
    ":::",
    "1:2:3:4:5:6:7:8:9",
    "12345::",
    "1.2.3",
    "01.2.3.4",
    "256.1.1.1",
    "::1.2.3",
    "",
  ])
    t.equal(parseInet(text), undefined, text);
});
