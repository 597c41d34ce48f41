/** A parameter that is declared is read somewhere, or it is listed here with the reason why not. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { PARAMETERS } from "../../../lib/config/parameters.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const code = ["cmd", "lib"]
  .flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts") && !file.endsWith("config/parameters.ts"))
      .map((file) => readFileSync(join(root, folder, file), "utf8")),
  )
  .join("\n");
const words = new Set(code.match(/[a-z0-9_]+/g));

/** Parts that are still to come. */
const LATER =
  /tls|sasl|milter|postscreen|dnsblog|qmqpd|openssl|relay_clientcerts|_auth|login_maps$|smtpd_service_name/;

const UNREAD: Readonly<Record<string, string>> = {
  berkeley_db_create_buffer_size: "our writer of hash and btree files needs no such buffer",
  berkeley_db_read_buffer_size: "nor does the reader",
  fault_injection_code: "for tests of Postfix's own",
  mail_release_date: "only shown",
  posthaste_version: "only shown",
  maps_rbl_domains: "its restriction, reject_maps_rbl, is gone in 3.9",
};

/** Names that are put together where they are read: prefix and rest. */
const PREFIXES = /^(?:smtp|lmtp|smtpd_policy_service|unverified_recipient|unverified_sender|address_verify)_/;
/** Per transport: the name of the transport stands before it. */
const TRANSPORT = /^local_destination_(?:concurrency|recipient)_limit$/;

t.test("every declared parameter is read", async (t) => {
  const unread = Object.keys(PARAMETERS).filter(
    (name) =>
      !words.has(name) &&
      !words.has(name.replace(PREFIXES, "")) &&
      !words.has(`_${name.replace(PREFIXES, "")}`) &&
      !LATER.test(name) &&
      !TRANSPORT.test(name),
  );
  t.same(unread.sort(), Object.keys(UNREAD).sort());
});
