/** What is asked of trivial-rewrite, and how often. */
import t from "tap";
import { ResolveCache } from "../../../lib/ipc/clients/resolve_cache.ts";
import { plainDomain, type Resolved, WHOLE_DOMAIN } from "../../../lib/ipc/protocols/rewrite.ts";

interface Asked {
  readonly cache: ResolveCache;
  readonly questions: string[];
  /** Gives the answers that are waited for. */
  readonly answer: () => Promise<void>;
  seconds: number;
}

/** A service that answers for whole domains, or, with `wide` false, as Postfix's does. */
function asked(wide: boolean, flags = 4096): Asked {
  const waiting: Array<() => void> = [];
  const world: Asked = {
    questions: [],
    seconds: 0,
    cache: new ResolveCache(
      async (sender, address, request) => {
        world.questions.push(`${request} ${sender} ${address}`);
        await new Promise<void>((resolve) => waiting.push(resolve));
        const extra = wide && plainDomain(address) !== undefined ? WHOLE_DOMAIN : 0;
        return { transport: "smtp", nexthop: "hop", recipient: address, flags: flags | extra };
      },
      () => world.seconds,
    ),
    async answer() {
      for (const give of waiting.splice(0)) give();
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
  return world;
}

const resolved = (recipient: string, flags = 4096): Resolved => ({
  transport: "smtp",
  nexthop: "hop",
  recipient,
  flags,
});

t.test("the same question is asked once in half a minute", async (t) => {
  const world = asked(false);
  const both = [
    world.cache.resolve("s@x", "a@b.example", "resolve"),
    world.cache.resolve("s@x", "a@b.example", "resolve"),
  ];
  await world.answer();
  t.same(await Promise.all(both), [resolved("a@b.example"), resolved("a@b.example")]);
  t.same(world.cache.resolve("s@x", "a@b.example", "resolve"), resolved("a@b.example"), "without waiting");
  t.same(world.questions, ["resolve s@x a@b.example"]);
  for (const [sender, address, request] of [
    ["t@x", "a@b.example", "resolve"],
    ["s@x", "c@b.example", "resolve"],
    ["s@x", "a@b.example", "verify"],
  ] as const)
    void world.cache.resolve(sender, address, request);
  await world.answer();
  t.equal(world.questions.length, 4, "another sender, address or request is another question");
  world.seconds = 31;
  void world.cache.resolve("s@x", "a@b.example", "resolve");
  t.equal(world.questions.length, 5);
});

t.test("a failed lookup is not remembered", async (t) => {
  const world = asked(false, 8);
  void world.cache.resolve("s@x", "a@b.example", "resolve");
  await world.answer();
  void world.cache.resolve("s@x", "a@b.example", "resolve");
  t.equal(world.questions.length, 2);
});

t.test(
  "an answer for a whole domain answers for its other addresses, and those that were asked meanwhile",
  async (t) => {
    const world = asked(true);
    const answers = ["a", "b", "c"].map((local) =>
      world.cache.resolve("s@x", `${local}@d.example`, "resolve"),
    );
    await world.answer();
    t.same(await Promise.all(answers), [
      resolved("a@d.example"),
      resolved("b@d.example"),
      resolved("c@d.example"),
    ]);
    t.same(world.cache.resolve("other@y", "d@d.example", "resolve"), resolved("d@d.example"));
    t.same(world.questions, ["resolve s@x a@d.example"]);
    for (const address of ['"d d"@d.example', "a%b@d.example", "d@D.example", "d@e.example", "-d@d.example"])
      void world.cache.resolve("s@x", address, "resolve");
    void world.cache.resolve("s@x", "d@d.example", "verify");
    await world.answer();
    t.equal(world.questions.length, 7, "what is not plain, or of another domain, is asked for");
    world.seconds = 31;
    void world.cache.resolve("s@x", "z@d.example", "resolve");
    t.equal(world.questions.length, 8);
  },
);

t.test(
  "a service of Postfix is asked for each address, and after its first answer for all at once",
  async (t) => {
    const world = asked(false);
    const ask = (locals: string[]) =>
      locals.map((local) => world.cache.resolve("s@x", `${local}@d.example`, "resolve"));
    const first = ask(["a", "b"]);
    await world.answer();
    await world.answer();
    t.same(await Promise.all(first), [resolved("a@d.example"), resolved("b@d.example")]);
    const second = ask(["c", "d", "e"]);
    t.equal(world.questions.length, 5);
    await world.answer();
    t.same(
      await Promise.all(second),
      ["c", "d", "e"].map((local) => resolved(`${local}@d.example`)),
    );
  },
);

t.test("plain addresses", async (t) => {
  for (const address of ["a@b", "a.b+c-d=e_f@b-c.d.example", "0@1.example"])
    t.equal(plainDomain(address), address.split("@")[1], address);
  for (const address of [
    "",
    "a",
    "@b",
    "a@",
    "a@b@c",
    "a..b@c",
    ".a@c",
    "-a@c",
    "a.@c",
    "a!b@c",
    "a/b@c",
    "a@[1.2.3.4]",
    "a@b.",
    "a@b..c",
    "a b@c",
    '"a"@c',
    "ä@c",
    "a@ä",
  ])
    t.equal(plainDomain(address), undefined, address);
});
