/** cleanup's parameters and tables. */
import { LocalDomains } from "../../lib/address/local_domains.ts";
import type { AddressLookupResult, AddressTables, LookupRules } from "../../lib/address/lookup.ts";
import { type PropagatingTable, propagatingTables } from "../../lib/address/propagation.ts";
import { extensionRules } from "../../lib/address/split.ts";
import { parameter } from "../../lib/config/configuration.ts";
import { splitList } from "../../lib/config/lists.ts";
import { namesOf } from "../../lib/config/names.ts";
import { fatal } from "../../lib/log/log.ts";
import { fromFormat } from "../../lib/message/from_format.ts";
import type { MimeProblem } from "../../lib/message/mime.ts";
import { lowerAscii } from "../../lib/sys/bytes.ts";
import { TableList } from "../../lib/tables/list.ts";
import { MatchList, type MatchResult } from "../../lib/tables/match.ts";
import { TableFlag } from "../../lib/tables/table.ts";
import { byteSet } from "./byte_set.ts";

/** Where an address stands: what canonical_classes and their like name. */
export type AddressPlace = "envelope_sender" | "envelope_recipient" | "header_sender" | "header_recipient";

export interface CheckTables {
  readonly empty: boolean;
  lookup(key: string): AddressLookupResult | Promise<AddressLookupResult>;
}

export interface NameList {
  readonly empty: boolean;
  matches(name: string): MatchResult | Promise<MatchResult>;
}

export interface CleanupTables {
  readonly canonical: AddressTables;
  readonly senderCanonical: AddressTables;
  readonly recipientCanonical: AddressTables;
  readonly virtualAlias: AddressTables;
  readonly senderBcc: AddressTables;
  readonly recipientBcc: AddressTables;
  readonly masqueradeExceptions: NameList;
  readonly headerChecks: CheckTables;
  readonly mimeHeaderChecks: CheckTables;
  readonly nestedHeaderChecks: CheckTables;
  readonly bodyChecks: CheckTables;
}

export interface MasqueradeDomain {
  /** Lower case. */
  readonly domain: string;
  readonly negated: boolean;
}

export interface CleanupSettings {
  readonly tables: CleanupTables;
  readonly rules: LookupRules;
  readonly canonicalPlaces: ReadonlySet<AddressPlace>;
  readonly senderCanonicalPlaces: ReadonlySet<AddressPlace>;
  readonly recipientCanonicalPlaces: ReadonlySet<AddressPlace>;
  readonly masqueradePlaces: ReadonlySet<AddressPlace>;
  readonly masqueradeDomains: ReadonlyArray<MasqueradeDomain>;
  readonly propagate: ReadonlySet<PropagatingTable>;
  readonly alwaysBcc: string;
  readonly emptyAddressRecipient: string;
  readonly virtualRecursionLimit: number;
  readonly virtualExpansionLimit: number;
  readonly virtualAddressLengthLimit: number;
  readonly duplicateFilterLimit: number;
  readonly originalRecipientInFilter: boolean;
  readonly attributeLimit: number;
  readonly delayWarningTime: number;
  readonly verpDelimiterFilter: string;
  readonly remoteHeaderRewriteDomain: string;
  readonly alwaysAddMissingHeaders: boolean;
  readonly undisclosedRecipientsHeader: string;
  readonly dropHeaders: ReadonlySet<string>;
  readonly headerTokenLimit: number;
  readonly headerSizeLimit: number;
  readonly hopcountLimit: number;
  readonly fromFormat: "standard" | "obsolete";
  readonly fullNameCharset: string;
  readonly detectEightBit: boolean;
  readonly tlsRequired: boolean;
  readonly requireTlsHeader: boolean;
  readonly smtputf8: boolean;
  readonly myhostname: string;
  readonly longQueueIds: boolean;
  readonly lineLimit: number;
  readonly messageSizeLimit: number;
  readonly bodyChecksSizeLimit: number;
  readonly replaceStrayCrLf: boolean;
  readonly rejectCharacters: Uint8Array | undefined;
  readonly stripCharacters: Uint8Array | undefined;
  readonly mimeDisabled: boolean;
  readonly mimeDowngrade: boolean;
  readonly mimeNestingLimit: number;
  readonly mimeBoundaryLimit: number;
  /** Problems that are reported when content is filtered. */
  readonly mimeReports: ReadonlySet<MimeProblem>;
  readonly endOfHeader: "fix_quietly" | "add_header" | "reject";
  readonly disableVerpBounces: boolean;
}

const ADDRESS_FLAGS = TableFlag.lock | TableFlag.fold_fix | TableFlag.utf8_request;

const PLACES: ReadonlyArray<AddressPlace> = [
  "envelope_sender",
  "envelope_recipient",
  "header_sender",
  "header_recipient",
];

/** The places that a parameter names; the reference calls all three of canonical_maps by the first one's name. */
const places = (value: string, name: "canonical_classes" | "masquerade_classes"): ReadonlySet<AddressPlace> =>
  namesOf(name, value, PLACES);

const listed = (value: string): ReadonlySet<string> => new Set(splitList(value).map(lowerAscii));

/** Opens what is configured; nothing is opened for an empty parameter. */
export async function openTables(): Promise<CleanupTables> {
  const addresses = (
    name:
      | "canonical_maps"
      | "sender_canonical_maps"
      | "recipient_canonical_maps"
      | "virtual_alias_maps"
      | "sender_bcc_maps"
      | "recipient_bcc_maps",
  ): Promise<TableList> => TableList.open(name, parameter(name), ADDRESS_FLAGS);
  const checks = (
    name: "header_checks" | "mime_header_checks" | "nested_header_checks" | "body_checks",
  ): Promise<TableList> => TableList.open(name, parameter(name), TableFlag.lock);
  return {
    canonical: await addresses("canonical_maps"),
    senderCanonical: await addresses("sender_canonical_maps"),
    recipientCanonical: await addresses("recipient_canonical_maps"),
    virtualAlias: await addresses("virtual_alias_maps"),
    senderBcc: await addresses("sender_bcc_maps"),
    recipientBcc: await addresses("recipient_bcc_maps"),
    masqueradeExceptions: await MatchList.open(
      "masquerade_exceptions",
      parameter("masquerade_exceptions"),
      "string",
    ),
    headerChecks: await checks("header_checks"),
    mimeHeaderChecks: await checks("mime_header_checks"),
    nestedHeaderChecks: await checks("nested_header_checks"),
    bodyChecks: await checks("body_checks"),
  };
}

/** The rules for address lookups, with mydestination opened. */
export async function openRules(): Promise<LookupRules> {
  const locals = await LocalDomains.open();
  return {
    ...extensionRules(),
    myorigin: parameter("myorigin"),
    isLocalDomain: (domain) => locals.isLocal(domain),
  };
}

const LINE_LIMIT_MINIMUM = 512;

/** The parameters of the installed configuration. */
export function readSettings(tables: CleanupTables, rules: LookupRules): CleanupSettings {
  const lineLimit = parameter("line_length_limit");
  if (lineLimit < LINE_LIMIT_MINIMUM)
    fatal(`invalid line_length_limit parameter value ${lineLimit} < ${LINE_LIMIT_MINIMUM}`);
  const mimeDisabled = parameter("disable_mime_input_processing");
  const mimeDowngrade = parameter("force_mime_input_conversion");
  if (mimeDisabled && mimeDowngrade)
    fatal("do not specify both disable_mime_input_processing=yes and force_mime_input_conversion=yes");
  if (parameter("non_smtpd_milters") !== "") fatal("non_smtpd_milters is not supported");
  const endOfHeader = readEndOfHeader();
  return {
    tables,
    rules,
    canonicalPlaces: places(parameter("canonical_classes"), "canonical_classes"),
    senderCanonicalPlaces: places(parameter("sender_canonical_classes"), "canonical_classes"),
    recipientCanonicalPlaces: places(parameter("recipient_canonical_classes"), "canonical_classes"),
    masqueradePlaces: places(parameter("masquerade_classes"), "masquerade_classes"),
    masqueradeDomains: masqueradeDomains(parameter("masquerade_domains")),
    propagate: propagatingTables(),
    alwaysBcc: parameter("always_bcc"),
    emptyAddressRecipient: parameter("empty_address_recipient"),
    virtualRecursionLimit: parameter("virtual_alias_recursion_limit"),
    virtualExpansionLimit: parameter("virtual_alias_expansion_limit"),
    virtualAddressLengthLimit: parameter("virtual_alias_address_length_limit"),
    duplicateFilterLimit: parameter("duplicate_filter_limit"),
    originalRecipientInFilter: parameter("enable_original_recipient"),
    attributeLimit: parameter("queue_file_attribute_count_limit"),
    delayWarningTime: parameter("delay_warning_time"),
    verpDelimiterFilter: parameter("verp_delimiter_filter"),
    remoteHeaderRewriteDomain: parameter("remote_header_rewrite_domain"),
    alwaysAddMissingHeaders: parameter("always_add_missing_headers"),
    undisclosedRecipientsHeader: parameter("undisclosed_recipients_header"),
    dropHeaders: listed(parameter("message_drop_headers")),
    headerTokenLimit: parameter("header_address_token_limit"),
    headerSizeLimit: parameter("header_size_limit"),
    hopcountLimit: parameter("hopcount_limit"),
    fromFormat: fromFormat(),
    fullNameCharset: parameter("full_name_encoding_charset"),
    detectEightBit: parameter("detect_8bit_encoding_header"),
    tlsRequired: parameter("tls_required_enable"),
    requireTlsHeader: parameter("requiretls_enable") && parameter("requiretls_esmtp_header"),
    smtputf8: parameter("smtputf8_enable"),
    myhostname: parameter("myhostname"),
    longQueueIds: parameter("enable_long_queue_ids"),
    lineLimit,
    messageSizeLimit: parameter("message_size_limit"),
    bodyChecksSizeLimit: parameter("body_checks_size_limit"),
    replaceStrayCrLf: parameter("cleanup_replace_stray_cr_lf"),
    rejectCharacters: byteSet(parameter("message_reject_characters")),
    stripCharacters: byteSet(parameter("message_strip_characters")),
    mimeDisabled,
    mimeDowngrade,
    mimeNestingLimit: parameter("mime_nesting_limit"),
    mimeBoundaryLimit: parameter("mime_boundary_length_limit"),
    mimeReports: mimeReports(tables, endOfHeader),
    endOfHeader,
    disableVerpBounces: parameter("disable_verp_bounces"),
  };
}

function mimeReports(
  tables: CleanupTables,
  endOfHeader: CleanupSettings["endOfHeader"],
): ReadonlySet<MimeProblem> {
  const reports = new Set<MimeProblem>();
  const strict = parameter("strict_8bitmime");
  if (strict || parameter("strict_7bit_headers")) reports.add("8bit-header");
  if (strict || parameter("strict_8bitmime_body")) reports.add("8bit-body");
  if (parameter("strict_mime_encoding_domain")) reports.add("domain");
  const checks = [tables.headerChecks, tables.mimeHeaderChecks, tables.nestedHeaderChecks];
  if (reports.size > 0 || checks.some((list) => !list.empty)) reports.add("nesting");
  if (endOfHeader !== "fix_quietly") reports.add("end-of-header");
  return reports;
}

function readEndOfHeader(): CleanupSettings["endOfHeader"] {
  const value = lowerAscii(parameter("non_empty_end_of_header_action"));
  if (value === "fix_quietly" || value === "add_header" || value === "reject") return value;
  return fatal(
    `unknown non_empty_end_of_header_action value: "${parameter("non_empty_end_of_header_action")}"`,
  );
}

function masqueradeDomains(value: string): MasqueradeDomain[] {
  return splitList(value).map((word) => {
    const domain = word.replace(/^!+/, "");
    return { domain: lowerAscii(domain), negated: (word.length - domain.length) % 2 === 1 };
  });
}
