import { Instance } from "/work/main/packaging/instance.ts";
const instance = new Instance({ directory: "/tmp/smtpd-inst", programs: "/tmp/smtpd-build", smtpPort: 12725, mainCf: process.env.MAIN_CF ?? "local_recipient_maps = unix:passwd.byname $alias_maps\nlocal_transport = discard\nrelay_transport = discard\ndefault_transport = discard\n" });
const what = process.argv[2];
if (what === "start") instance.start(); else if (what === "stop") instance.stop(); else console.log(instance.environment);
