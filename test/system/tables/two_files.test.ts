/** sdbm and dbm tables: Perl's SDBM_File, which is the original library, and NDBM_File, which is GNU's dbm, read what we write and the other way round. */
import { spawnSync } from "node:child_process";
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { Postmap } from "./servers/postmap.ts";

const perl = (module: string, script: string): string => {
  const run = spawnSync("perl", [`-M${module}`, "-MFcntl", "-e", script], { encoding: "latin1" });
  if (run.status !== 0) throw new Error(run.stderr);
  return run.stdout;
};
const hasPerl = ["SDBM_File", "NDBM_File"].every(
  (module) => spawnSync("perl", [`-M${module}`, "-e", "1"]).status === 0,
);

t.test("sdbm and dbm beside Perl", hasPerl ? {} : { skip: "no SDBM_File and NDBM_File" }, async (t) => {
  for (const [type, module] of [
    ["sdbm", "SDBM_File"],
    ["dbm", "NDBM_File"],
  ] as const) {
    const postmap = new Postmap(t);
    const lines = Array.from(
      { length: 2000 },
      (_, i) => `Key${i}@example.com value ${i} ${"x".repeat(i % 60)}`,
    );
    const path = postmap.write("t", `${lines.join("\n")}\n`.replace(/ \n/g, "\n"));
    const table = `${type}:${path}`;
    const tied = (mode: string, script: string): string =>
      perl(module, `tie(my %h, "${module}", "${path}", ${mode}, 0644) or die $!; ${script}`);
    t.same(await postmap.run([table]), { stdout: "", stderr: "", status: 0 });
    t.equal(
      tied("O_RDONLY", 'print scalar(keys %h), "|", $h{"key77\\@example.com\\0"}'),
      `2000|value 77 ${"x".repeat(17)}\0`,
      `${module} reads what we write`,
    );

    tied("O_RDWR", 'for (0..499) { $h{"new$_\\0"} = "perl $_\\0"; delete $h{"key$_\\@example.com\\0"} }');
    const listed = await postmap.run(["-s", table]);
    t.equal(listed.stdout.split("\n").length - 1, 2000, `${module} changes it, and we read that`);
    t.match(listed.stdout, /^new499\tperl 499$/m);
    t.match(await postmap.query(table, "key499@example.com"), { stdout: "", status: 1 });
    t.match(await postmap.query(table, "NEW7"), { stdout: "perl 7\n", status: 0 });

    t.same(await postmap.run(["-i", table], "\xc3\xa9@x added\nnew7 again\n"), {
      stdout: "",
      stderr: 'postmap: warning: $CWD/t.dir: duplicate entry: "new7"\n',
      status: 0,
    });
    t.same(await postmap.run(["-d", "new499", table]), { stdout: "", stderr: "", status: 0 });
    t.same(await postmap.run(["-d", "new499", table]), { stdout: "", stderr: "", status: 1 });
    t.equal(
      tied("O_RDONLY", 'print scalar(keys %h), "|", $h{"\\xc3\\xa9\\@x\\0"}'),
      "2000|added\0",
      `${module} reads what we change`,
    );

    perl(
      module,
      `tie(my %h, "${module}", "${path}2", O_RDWR|O_CREAT, 0644) or die $!; $h{"plain"} = "without NUL"; $h{"other\\0"} = "with\\0"`,
    );
    t.match(await postmap.query(`${type}:${path}2`, "plain"), { stdout: "without NUL\n", status: 0 });
  }
});

t.test("sdbm: what does not fit, and what makes no sense", async (t) => {
  const postmap = new Postmap(t);
  const path = postmap.write("t", `key ${"x".repeat(2000)}\n`);
  t.match(await postmap.run([`sdbm:${path}`]), {
    stderr: /^postmap: fatal: table sdbm:\S+: write error\n$/,
    status: 1,
  });
  await postmap.run([`sdbm:${postmap.write("good", "a b\n")}`]);
  appendFileSync(join(postmap.directory, "good.pag"), Buffer.alloc(1024, 0xff));
  t.match(await postmap.run(["-s", `sdbm:${postmap.directory}/good`]), {
    stderr: /error seeking \S+: bad page\n$/,
    status: 1,
  });
  t.match(await postmap.query(`sdbm:${postmap.directory}/good`, "a"), { stdout: "b\n", status: 0 });
  t.match(await postmap.query(`sdbm:${postmap.directory}/none`, "a"), {
    stderr: "postmap: fatal: open database $CWD/none.dir: No such file or directory\n",
    status: 1,
  });
});

t.test("dbm: what makes no sense", async (t) => {
  const postmap = new Postmap(t);
  const table = `dbm:${postmap.write("t", "a b\nc d\n")}`;
  t.equal((await postmap.run([table])).status, 0);
  const pages = readFileSync(join(postmap.directory, "t.pag"));
  await Postmap.all([0, 8, 20, 24, 28, 4096, 8192 + 112, 8192 + 130], async (place) => {
    const damaged = Buffer.from(pages);
    damaged.fill(0xff, place, place + 4);
    const name = `damaged${place}`;
    writeFileSync(join(postmap.directory, `${name}.pag`), damaged);
    writeFileSync(join(postmap.directory, `${name}.dir`), readFileSync(join(postmap.directory, "t.dir")));
    const run = await postmap.run(["-s", `dbm:${postmap.directory}/${name}`]);
    t.match(run.stderr, /^$|error seeking \S+: bad database\n$/, `${place}: ${run.stderr}`);
    t.not(run.status, null);
  });
});
