/** postfix(1), postmulti(1) and postfix-wrapper beside the real ones on equal machines: odd command lines, broken set-ups, several instances. */
import t, { type Test } from "tap";
import { Administration, type Session } from "./support/administration.ts";
import { reference } from "./support/reference.ts";

t.setTimeout(300_000);
// most of the time passes in waiting; each test needs options of its own: tap keeps its state of a test in them
t.jobs = 7;
const real = reference();
const skip = "missing" in real ? { skip: real.missing } : {};

async function alike(sessions: ReadonlyArray<Session>, check: Test): Promise<void> {
  if ("missing" in real) return;
  const machines = new Administration(real);
  check.teardown(() => machines.remove());
  const queue = sessions.values();
  // what is fatal takes a second
  const worker = async (): Promise<void> => {
    for (const session of queue) {
      const [theirs, ours] = await machines.both(session);
      check.equal(ours, theirs, session.name);
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
}

const session = (name: string, commands: ReadonlyArray<string>, before = ""): Session => ({
  name,
  commands,
  before,
});
const setting = (name: string, value: string): string =>
  `sed -i '/^${name} /d' /etc/postfix/main.cf; echo '${name} = ${value}' >>/etc/postfix/main.cf`;
const asUser = (command: string): string => `setpriv --reuid=1001 --regid=1001 --clear-groups ${command}`;

const OLD_SERVICES = [
  "smtp inet n - n - - smtpd",
  "pickup fifo n n n 60 1 pickup",
  "cleanup unix - - n - 0 cleanup",
  "qmgr fifo n - n 300 1 qmgr",
  "tlsmgr fifo - - n 300 1 tlsmgr",
  "verify unix - - n - 0 verify",
  "proxywrite unix - - n - - proxymap\\n",
].join("\\n");

/** What is wrong, and how it came to be. */
const BROKEN: ReadonlyArray<readonly [name: string, before: string]> = [
  ["no command directory", setting("command_directory", "/nosuch")],
  ["no daemon directory", setting("daemon_directory", "/nosuch")],
  ["no queue directory", "rmdir spool"],
  ["the queue directory is a file", "rmdir spool; echo >spool"],
  ["no meta directory", setting("meta_directory", "/nosuch")],
  ["no directory of libraries", setting("shlib_directory", "/nosuch")],
  ["the data directory is a file", "rmdir data; echo >data"],
  ["no main.cf", "rm /etc/postfix/main.cf"],
  ["no postlog service", "sed -i '/^postlog/d' /etc/postfix/master.cf"],
  ["an unknown owner", setting("mail_owner", "nosuch")],
  ["root is the owner", setting("mail_owner", "root")],
  ["no owner", setting("mail_owner", "")],
  ["an unknown group", setting("setgid_group", "nosuch")],
  ["the owner's own group", setting("setgid_group", "postfix")],
  ["the owner delivers", "echo 'default_privs = postfix' >>/etc/postfix/main.cf"],
  ["root delivers", "echo 'default_privs = root' >>/etc/postfix/main.cf"],
  ["another user with the owner's number", "echo other:x:8025:1::/:/bin/sh >>/etc/passwd"],
  ["no number", "echo 'default_process_limit = x' >>/etc/postfix/main.cf"],
  ["neither yes nor no", "echo 'soft_bounce = x' >>/etc/postfix/main.cf"],
  ["a level that is none", setting("compatibility_level", "x")],
  ["an old level", setting("compatibility_level", "2")],
  ["an unused parameter", "echo 'nosuch_parameter = x' >>/etc/postfix/main.cf"],
  ["no sendmail_path", setting("sendmail_path", "")],
  ["no log", setting("maillog_file", "")],
  ["a log elsewhere", setting("maillog_file", "/nosuch/log")],
  ["an address that is not here", setting("inet_interfaces", "10.9.8.7")],
  ["no interface", "ip link set lo down"],
  ["a directory writable for all", "chmod 777 /etc/postfix"],
  [
    "other instances, and no wrapper",
    "echo 'multi_instance_directories = /etc/other' >>/etc/postfix/main.cf",
  ],
  [
    "a wrapper that is not there",
    "printf 'multi_instance_directories = /etc/other\\nmulti_instance_wrapper = /nosuch -p\\n' >>/etc/postfix/main.cf",
  ],
  ["a directory's name taken by a file", "postfix check; rmdir spool/hold; : >spool/hold"],
  ["the name of the PID directory taken by a file", "postfix check; rmdir spool/pid; : >spool/pid"],
  ["directories missing", "postfix check; rmdir spool/active spool/public spool/private spool/hold"],
];

t.test("broken set-ups", { ...skip }, (t) =>
  alike(
    BROKEN.map(([name, before]) => session(name, ["postfix check"], before)),
    t,
  ),
);

t.test("a configuration that postconf cannot read is no configuration to start with", { ...skip }, (t) =>
  alike(
    ["status", "check", "start", "reload"].map((command) =>
      session(
        `${command}, bad master.cf`,
        [`postfix ${command}`],
        "echo 'bad line' >>/etc/postfix/master.cf",
      ),
    ),
    t,
  ),
);

/** Without what only the real one's shell says. */
const withoutShell = (command: string): string =>
  `${command} 2>err; status=$?; sed '/^$/d; /failed/!{/kill: /d}; s/failed: .*kill:/failed: kill:/' err >&2; rm err; exit $status`;
const LOCKED = (pid: string): string =>
  `postfix check; echo ${pid} >spool/pid/master.pid; flock spool/pid/master.pid sleep 60 & sleep 0.3`;

t.test("a master that cannot be signalled", { ...skip }, (t) =>
  alike(
    [
      session(
        "no number",
        ["status", "abort", "drain", "reload", "start", "logrotate"].map((word) =>
          withoutShell(`postfix ${word}`),
        ),
        LOCKED("garbage"),
      ),
      session("no number: quick-stop", [withoutShell("postfix quick-stop")], LOCKED("99999x")),
      session(
        "no process",
        ["abort", "drain", "logrotate", "stop"].map((word) => withoutShell(`postfix ${word}`)),
        LOCKED("99999"),
      ),
    ],
    t,
  ),
);

const asMailOwner = (command: string): string =>
  `setpriv --reuid=8025 --regid=8025 --clear-groups ${command}`;

t.test("the mail owner of the system is not its superuser", { ...skip }, (t) =>
  alike(
    [
      session(
        "commands",
        [
          ...["", "status", "start", "-c /etc/postfix stop"].map((words) => `postfix ${words}`),
          "postqueue -p",
          "libexec/master -t",
        ].map(asMailOwner),
        "postfix check",
      ),
      session("postsuper", [asMailOwner("postsuper")], `postfix check; ${setting("maillog_file", "")}`),
    ],
    t,
  ),
);

t.test("commands: debugging, and odd names in the queue", { ...skip }, (t) =>
  alike(
    [
      session(
        "MAIL_DEBUG, MAIL_VERBOSE",
        [
          "MAIL_DEBUG= sendmail -bh; cat spool/debugged",
          asUser("env MAIL_DEBUG=1 sendmail -q15m; cat spool/debugged"),
          "postmulti -v -x sh -c 'echo ${MAIL_VERBOSE-unset}'",
          "postmulti -x sh -c 'echo ${MAIL_VERBOSE-unset}'",
        ],
        "chmod 777 spool; echo 'debugger_command = echo $process_name >>$queue_directory/debugged; chmod 666 $queue_directory/debugged' >>/etc/postfix/main.cf",
      ),
      ...["-d ALL", "-r ALL", "-s", "-p", ""].map((words) =>
        session(
          `a name of one letter: postsuper ${words}`,
          [`postsuper ${words}`],
          "postfix check; : >spool/deferred/A; chmod 700 spool/deferred/A; chown 8025 spool/deferred/A",
        ),
      ),
    ],
    t,
  ),
);

t.test("starting and stopping", { ...skip }, (t) =>
  alike(
    [
      session(
        "the whole day",
        "start; start; status; reload; flush; check; stop; stop; status"
          .split("; ")
          .map((word) => `postfix ${word}`),
      ),
      session(
        "abort, drain",
        "start; abort x; start; drain y".split("; ").map((word) => `postfix ${word}; sleep 0.5`),
      ),
      session("quick-stop", [
        "postfix start",
        "postfix quick-stop",
        "ls spool",
        "postfix start",
        "postfix stop",
      ]),
      session("quick-stop of what is down", ["postfix quick-stop", "ls spool"]),
      session(
        "process_id_directory changes nothing",
        ["postfix start", "postfix status", "postfix reload", "postfix stop"],
        "echo process_id_directory = other >>/etc/postfix/main.cf",
      ),
      session(
        "a stale PID",
        ["postfix status", "postfix start", "postfix stop"],
        "postfix check; echo 1 >spool/pid/master.pid",
      ),
      session(
        "data of root",
        ["postfix check", "postfix start", "postfix set-permissions", "postfix start", "postfix stop"],
        "chown 0 data",
      ),
      session(
        "a second master",
        ["postfix start", "postfix check"],
        "postfix check; : >data/master.lock; chown 8025:8025 data/master.lock; flock data/master.lock sleep 60 & sleep 0.3",
      ),
    ],
    t,
  ),
);

t.test("odd command lines of postfix", { ...skip }, (t) =>
  alike(
    [
      session(
        "words and options",
        [
          ...[
            "",
            "''",
            "bogus",
            "STATUS",
            "-c",
            "-c x status",
            "-c /nosuch status",
            "-c /etc/postfix/ status",
          ],
          ...["-D status", "-- status", "-Z", "-vx status", "-v -c", "--version", "status -v"],
          ...["/bin/true a", "/bin/sh -c 'exit 7'", "start_msg x", "stop_msg"],
        ].map((words) => `postfix ${words}`),
      ),
      session(
        "environment",
        ["/nosuch", "", "etc", "/etc/postfix"].map((directory) => `MAIL_CONFIG=${directory} postfix status`),
      ),
      session(
        "users",
        ["status", "", "-x", "-c /nosuch status", "-c x status", "bogus"].map((words) =>
          asUser(`postfix ${words}`),
        ),
      ),
      session(
        "post-install",
        [
          ...[
            "",
            "x",
            "x=y",
            "mail_owner=postfix",
            "create-missing",
            "create-missing x",
            "tempdir=/tmp set-perm",
            "''",
          ],
          ...["queue_directory=x create-missing", "html_directory=x set-permissions"],
        ].map((words) => `postfix post-install ${words}`),
      ),
      session(
        "upgrade of nothing",
        ["postfix upgrade-configuration", "postfix upgrade-configuration"],
        ": >/etc/postfix/master.cf; echo 'hash_queue_names = incoming' >>/etc/postfix/main.cf",
      ),
      session(
        "upgrade of an old one",
        ["postfix upgrade-configuration"],
        `printf '${OLD_SERVICES}' >/etc/postfix/master.cf`,
      ),
    ],
    t,
  ),
);

const places = (name: string): string =>
  `config_directory=/etc/postfix-${name} queue_directory=$PWD/queue-${name} data_directory=$PWD/data-${name}`;
const aged = "touch -d 2023-11-14 /etc/postfix*/*.cf";
const create = (name: string): string => `postmulti -e create -I postfix-${name} ${places(name)}; ${aged}`;
const INIT = "postmulti -e init";

t.test("odd command lines of postmulti", { ...skip }, (t) =>
  alike(
    [
      [
        "",
        "-Z",
        "-i",
        "-e",
        "-e foo",
        "-l -p x",
        "-l x",
        "-p",
        "-x",
        "-R -p x",
        "-R -e init",
        "-j",
        "-jx true",
      ],
      ["-e init x", "-e enable x=y", "-I postfix-a -l", "-G a -p x", "-G a -G b -e create", "-I a -e create"],
      [
        "-I postfix-a/b -e create",
        "-I 'postfix-a b' -e create",
        "-G 'a b' -e create",
        "-a -i x -l",
        "-g x -g y -l",
      ],
      [
        "-a -a -l",
        "-e init -e init",
        "-e enable -e disable",
        "-e assign",
        "-I postfix-a -e init",
        "-l -i nosuch",
      ],
      [
        "-i nosuch -p status",
        "-x nosuch",
        "-g nosuch -x true",
        "-vl",
        "-c x -l",
        "-- -l",
        "-l -- x",
        "-i '' -l",
        "-I '' -e create",
      ],
      [
        "-e create",
        "-e create x",
        "-e create x=y",
        "-e create config_directory=x",
        "-e create config_directory=/etc/postfix",
      ],
      [
        `-e create -I postfix-a queue_directory=$PWD/spool`,
        `-e create -I postfix-a queue_directory=$PWD/q data_directory=$PWD/q`,
      ],
      [
        "-i nosuch -e create -I postfix-a",
        "-e import",
        "-e import config_directory=/nosuch",
        "-e import queue_directory=/x",
      ],
      [
        "-e destroy",
        "-i - -e destroy",
        "-i - -e deport",
        "-i - -e assign -I postfix-main -G main",
        "-l",
        "-i main -e disable",
        "-l",
      ],
    ].map((lines, index) =>
      session(
        `set ${index}`,
        lines.map((words) => `postmulti ${words}`),
        INIT,
      ),
    ),
    t,
  ),
);

t.test("several instances", { ...skip }, (t) =>
  alike(
    [
      session(
        "life",
        [
          ...[
            create("a"),
            create("b"),
            "postmulti -lR",
            "postmulti -l -i a",
            "postmulti -l -i /etc/postfix-b",
            "postmulti -lj",
          ],
          ...["postmulti -i a -e enable", "postmulti -i a -e assign -I postfix-c -G other", "postmulti -l"],
          ...[
            "postmulti -i c -e assign -I - -G -",
            "postmulti -i /etc/postfix-a -e destroy",
            "postmulti -i b -e deport",
          ],
          ...["postmulti -e import config_directory=/etc/postfix-b", "postmulti -l"],
        ],
        INIT,
      ),
      session(
        "create where something is",
        [
          `mkdir queue-a data-a /etc/postfix-a; echo x >queue-a/x; ${create("a")}`,
          `mkdir /etc/postfix-c; echo relayhost=x >/etc/postfix-c/main.cf; ${create("c")}`,
          `echo x >queue-b; postmulti -e create -I postfix-b ${places("b")} 2>/dev/null`,
          "rm /etc/postfix/main.cf.proto",
          `postmulti -e create -I postfix-d ${places("d")}`,
          "postmulti -l",
        ],
        INIT,
      ),
      session(
        "start, stop, programs",
        [
          ...[
            "postmulti -p start",
            "postmulti -i a -e enable",
            "postfix start",
            "postfix status",
            "postmulti -i a -e destroy",
          ],
          ...[
            "postmulti -p reload",
            "postmulti -p abort; sleep 1",
            "postmulti -p stop",
            "postmulti -i a -p bogus",
          ],
          ...["postmulti -i a -p /bin/sh -c 'echo $MAIL_CONFIG; exit 3'", "postmulti -x false"],
          "postmulti -Rx sh -c 'echo $config_directory $multi_instance_name $multi_instance_enable'",
        ],
        `${INIT}; ${create("a")}`,
      ),
      session(
        "a list with a directory that is not there",
        ["postmulti -l", "postmulti -p status"],
        `${INIT}; ${create("a")}; echo 'multi_instance_directories = ,/etc/postfix-a,,/etc/nosuch ' >>/etc/postfix/main.cf`,
      ),
      session(
        "an instance that is in the way of another",
        ["postmulti -l", "postmulti -i b -p status"],
        `${INIT}; ${create("a")}; ${create("b")}; sed 's/postfix-a/postfix-b/' /etc/postfix-a/main.cf >/etc/postfix-b/main.cf`,
      ),
      session(
        "destroy without a queue",
        ["postmulti -i a -e destroy 2>/dev/null; rmdir data-a 2>/dev/null; true", "postmulti -l"],
        `${INIT}; ${create("a")}; rm -r queue-a`,
      ),
      session(
        "a secondary instance alone",
        ["check", "start", "status", "start-fg", "stop"].map((word) => `postfix -c /etc/postfix-a ${word}`),
        `${INIT}; ${create("a")}; chmod 777 /etc/postfix-a`,
      ),
    ],
    t,
  ),
);

const INSTANCES = ["a", "b"]
  .map(
    (name) =>
      `cp -r /etc/postfix /etc/postfix-${name}; mkdir spool-${name} data-${name}; chown 8025 data-${name}; sed -i 's,/spool,/spool-${name},;s,/data$,/data-${name},' /etc/postfix-${name}/main.cf`,
  )
  .join("; ");
const WRAPPED = `${INSTANCES}; printf 'multi_instance_directories = /etc/postfix-a, /etc/postfix-b\\nmulti_instance_wrapper = \${daemon_directory}/postfix-wrapper\\n' >>/etc/postfix/main.cf`;

t.test("postfix-wrapper: order, disabled and broken instances, status", { ...skip }, (t) =>
  alike(
    [
      session(
        "a is enabled",
        [
          "status",
          "start",
          "status",
          "reload",
          "flush",
          "stop",
          "quick-stop",
          "bogus",
          "/bin/sh -c 'echo $MAIL_CONFIG; exit 3'",
        ].map((words) => `postfix ${words}`),
        `${WRAPPED}; echo 'multi_instance_enable = yes' >>/etc/postfix-a/main.cf`,
      ),
      session(
        "none is enabled",
        ["start", "check", "stop", "drain", "start_msg"].map((word) => `postfix ${word}`),
        WRAPPED,
      ),
      session(
        "one is broken",
        ["start", "status", "stop"].map((word) => `postfix ${word}`),
        `${WRAPPED}; rm /etc/postfix-a/main.cf`,
      ),
      session("not from postfix", ["libexec/postfix-wrapper status 2>/dev/null"], WRAPPED),
    ],
    t,
  ),
);

const SUBMIT = "printf 'Subject: x\\n\\nbody\\n' | sendmail -f root@localhost x@example.org; sleep 1.5";
const RUNNING = (settings: string): string =>
  `printf 'discard unix - - n - - discard\\nproxywrite unix - - n - 1 proxymap\\n' >>/etc/postfix/master.cf; printf '${settings}\\nmyhostname=h.test\\nmydestination=localhost\\n' >>/etc/postfix/main.cf; ${aged}; postfix start; sleep 0.3`;
const TIDY = "postfix stop 2>/dev/null; rm -f spool/saved/* spool/pid/unix.*";

t.test("parameters that change where things are", { ...skip }, (t) =>
  alike(
    [
      session(
        "dont_remove: what is done with is in saved",
        [
          SUBMIT,
          "grep -c 'qmgr.*removed' log/mail.log",
          "find spool/saved -type f -printf '%m %u\\n' | sort",
          "for file in spool/saved/*; do postcat $file; done | grep -c ^body",
          "postqueue -p",
          TIDY,
        ],
        RUNNING("dont_remove=1\\ndefault_transport=discard"),
      ),
      session(
        "proxymap_service_name",
        [
          "timeout 9 postmap -q example.org proxy:texthash:/etc/postfix/table",
          "timeout 9 postmap -q example.org proxy:texthash:/etc/postfix/another",
          TIDY,
        ],
        `echo 'example.org discard:by table' >/etc/postfix/table; ${RUNNING("proxymap_service_name=proxywrite\\ntransport_maps=proxy:texthash:/etc/postfix/table\\nproxy_read_maps=$transport_maps\nproxy_write_maps=$transport_maps")}`,
      ),
    ],
    t,
  ),
);
