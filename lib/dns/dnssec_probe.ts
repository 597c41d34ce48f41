/** Tells the admin when answers are never DNSSEC validated, which makes DANE useless (postconf(5): dnssec_probe). */
import { parameter } from "../config/configuration.ts";
import { fatal, warning } from "../log/log.ts";
import { upperAscii } from "../sys/bytes.ts";
import { exchange } from "./exchange.ts";
import type { ResolverConfiguration } from "./resolv_conf.ts";
import { failureText, RECORD_TYPES, type RecordType } from "./types.ts";

let settled = false;

/** Notes whether an answer was validated. After the first that was not, when none was before, one question is put whose answer should be. */
export async function noteValidation(valid: boolean, configuration: ResolverConfiguration): Promise<void> {
  if (settled) return;
  settled = true;
  const probe = parameter("dnssec_probe");
  if (valid || probe === "") return;
  const [, word = "", name = ""] = /^([^:]*):(.*)$/.exec(probe) ?? [];
  const type = upperAscii(word);
  if (!isRecordType(type) || name === "")
    fatal(`malformed dnssec_probe value: ${probe} format is qtype:qname`);
  const reply = await exchange(name, type, true, configuration);
  if (reply.kind === "answer" && reply.message.authentic) return;
  warning("DNSSEC validation may be unavailable");
  warning(
    reply.kind === "answer"
      ? `reason: dnssec_probe '${probe}' received a response that is not DNSSEC validated`
      : `reason: dnssec_probe '${probe}' received no response: ${failureText(reply.kind, name, type)}`,
  );
}

const isRecordType = (word: string): word is RecordType => Object.hasOwn(RECORD_TYPES, word);
