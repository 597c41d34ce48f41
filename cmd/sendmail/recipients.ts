/** Recipients of a message: from the command line, and from its headers (-t; tools.md 2.6, 2.8). */
import { addressNodes, parseAddresses } from "../../lib/address/parser.ts";
import { addressInternal } from "../../lib/address/unparser.ts";
import { parameter } from "../../lib/config/configuration.ts";
import { headerValue } from "../../lib/message/header.ts";
import { type MimeEvent, MimeParser } from "../../lib/message/mime.ts";
import { Rec } from "../../lib/queue/records.ts";

/** The addresses of a list, in internal form. */
export const addressesOf = (text: string, limit?: number): string[] =>
  addressNodes(parseAddresses(text, limit)).map(addressInternal);

/** The recipients that one command-line argument names; an argument without address names the empty one. */
export function argumentRecipients(argument: string): string[] {
  const addresses = addressesOf(argument);
  return addresses.length === 0 ? [""] : addresses;
}

export interface HeaderRecipients {
  /** One content record. */
  readonly record: (type: number, data: Buffer) => void;
  /** The content is complete: the recipients found. */
  readonly end: () => ReadonlyArray<string>;
}

/** Passes content through the header parser and collects recipients. `fail` is called for a header beyond the limit. */
export function headerRecipients(
  emit: (type: number, data: string | Uint8Array) => void,
  fail: (reason: string) => never,
): HeaderRecipients {
  const lineLimit = parameter("line_length_limit");
  const tokenLimit = parameter("header_address_token_limit");
  const plain: string[] = [];
  const resent: string[] = [];
  let sawResent = false;

  const header = (event: Extract<MimeEvent, { kind: "header" }>): void => {
    const { info, text } = event;
    if (info?.extract === true) {
      if (info.name.startsWith("Resent-")) {
        sawResent = true;
        resent.push(...addressesOf(headerValue(text), tokenLimit));
      } else if (!sawResent) plain.push(...addressesOf(headerValue(text), tokenLimit));
    }
    for (const line of text.split("\n")) {
      let at = 0;
      while (line.length - at > lineLimit) {
        emit(Rec.CONTINUED, line.slice(at, at + lineLimit));
        at += lineLimit;
      }
      emit(Rec.NORMAL, line.slice(at));
    }
  };

  const parser = new MimeParser(
    {
      disabled: true,
      report: new Set(["truncated"] as const),
      headerSizeLimit: parameter("header_size_limit"),
      nestingLimit: 0,
      boundaryLimit: 0,
    },
    (event) => {
      switch (event.kind) {
        case "header":
          header(event);
          break;
        case "body":
          emit(event.type, event.data);
          break;
        case "problem":
          fail("message header length exceeds safety limit");
      }
    },
  );
  return {
    record: (type, data) => parser.record(type, data),
    end: () => {
      parser.end();
      return sawResent ? resent : plain;
    },
  };
}
