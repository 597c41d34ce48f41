/** The message content: header, MIME structure and body, from the client's records to the queue file. */
import { mimeError } from "../../lib/log/events/cleanup.ts";
import { log } from "../../lib/log/log.ts";
import { MIME_PROBLEMS, type MimeEvent, MimeParser, type MimeProblem } from "../../lib/message/mime.ts";
import type { RecordDecoder } from "../../lib/queue/record_decoder.ts";
import { Rec } from "../../lib/queue/records.ts";
import { fromBytes, toBytes } from "../../lib/sys/bytes.ts";
import { blankStrayLineEnds, bodyRun } from "./body_run.ts";
import { holdsAny, without } from "./byte_set.ts";
import { applyCheck, type Check, rejectContent } from "./checks.ts";
import type { Headers } from "./headers.ts";
import type { Message } from "./message.ts";
import type { CleanupSettings } from "./settings.ts";

const NO_REPORTS: ReadonlySet<MimeProblem> = new Set();
const SAMPLE_LIMIT = 100;

export class Content {
  readonly #parser: MimeParser;
  readonly #bodyCheck: Check;
  readonly #problems = new Set<MimeProblem>();
  #events: MimeEvent[] = [];

  constructor(
    private readonly message: Message,
    private readonly settings: CleanupSettings,
    private readonly headers: Headers,
  ) {
    const reports = message.has("filter") ? settings.mimeReports : NO_REPORTS;
    this.#parser = new MimeParser(
      {
        disabled: settings.mimeDisabled,
        downgrade: settings.mimeDowngrade,
        // needed to add a header about it, whatever is reported
        report: settings.endOfHeader === "add_header" ? new Set([...reports, "end-of-header"]) : reports,
        headerSizeLimit: settings.headerSizeLimit,
        nestingLimit: settings.mimeNestingLimit,
        boundaryLimit: settings.mimeBoundaryLimit,
      },
      (event) => this.#events.push(event),
    );
    this.#bodyCheck = { tables: settings.tables.bodyChecks, title: "body_checks", context: "body" };
  }

  /** Copies body records that need no look straight from the input. */
  pass(input: RecordDecoder): void {
    const parser = this.#parser;
    if (!parser.plainBody || this.#filters) return;
    const bytes = input.peek();
    if (bytes.length === 0) return;
    const run = bodyRun(bytes, {
      boundaries: parser.hasBoundaries,
      inLine: parser.inLine,
      lineLimit: this.settings.lineLimit,
      replaceCrLf: this.settings.replaceStrayCrLf,
    });
    if (run.length === 0) return;
    this.message.append(bytes.subarray(0, run.length));
    parser.passed(run.counted, run.lastType);
    input.skip(run.length);
  }

  get #filters(): boolean {
    const { settings } = this;
    return (
      this.message.has("filter") &&
      (!settings.tables.bodyChecks.empty ||
        settings.rejectCharacters !== undefined ||
        settings.stripCharacters !== undefined)
    );
  }

  /** One content record. */
  record(type: number, data: Buffer): Promise<void> | undefined {
    const { message, settings } = this;
    let bytes: Uint8Array = data;
    if (settings.replaceStrayCrLf) blankStrayLineEnds(data);
    if (message.has("filter")) {
      if (settings.rejectCharacters !== undefined && holdsAny(bytes, settings.rejectCharacters)) {
        rejectContent(message, "content", cString(bytes), "disallowed character");
        return undefined;
      }
      if (settings.stripCharacters !== undefined) bytes = without(bytes, settings.stripCharacters);
    }
    this.#parser.record(type, bytes);
    return this.#events.length > 0 ? this.#handleEvents() : undefined;
  }

  /** The content is complete. */
  end(): Promise<void> | undefined {
    this.#parser.end();
    const pending = this.#handleEvents();
    if (pending !== undefined) return pending.then(() => this.#finish());
    this.#finish();
    return undefined;
  }

  #finish(): void {
    const { message } = this;
    if (this.#problems.size > 0) {
      const [, text = ""] = MIME_PROBLEMS.find(([problem]) => this.#problems.has(problem)) ?? [];
      message.fail("CONT", `5.6.0 ${text}`);
    }
    message.contentEnd = message.output.position;
    message.put(Rec.EXTRACTED);
    message.phase = "extracted";
    message.inRecipients = false;
  }

  #handleEvents(first = 0, events = this.#taken()): Promise<void> | undefined {
    for (let index = first; index < events.length; index++) {
      const pending = this.#handle(events[index] as MimeEvent);
      if (pending !== undefined) return pending.then(() => this.#handleEvents(index + 1, events));
    }
    return undefined;
  }

  #taken(): MimeEvent[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }

  #handle(event: MimeEvent): Promise<void> | undefined {
    switch (event.kind) {
      case "header":
        return this.headers.header(this.message, event);
      case "headersEnd":
        this.headers.end(this.message, this.#terminatedByText);
        return undefined;
      case "body":
        return this.#body(event);
      case "problem":
        this.#problem(event.problem, event.sample);
        return undefined;
    }
  }

  #terminatedByText = false;

  #problem(problem: MimeProblem, sample: string): void {
    const { message, settings } = this;
    if (problem === "end-of-header") {
      this.#terminatedByText = true;
      if (settings.endOfHeader !== "reject" || !message.has("filter")) return;
    }
    this.#problems.add(problem);
    log(
      mimeError({
        queueId: message.queueId,
        problem: MIME_PROBLEMS.find(([name]) => name === problem)?.[1] ?? problem,
        sample: sample.slice(0, SAMPLE_LIMIT),
        origin: message.attributes.get("log_message_origin") ?? "unknown",
        from: message.logged(message.sender ?? ""),
        to: message.recipient === undefined ? "unknown" : message.logged(message.recipient),
      }),
    );
  }

  #body(event: MimeEvent & { kind: "body" }): Promise<void> | undefined {
    const { message, settings } = this;
    if (!message.accepts) return undefined;
    const { type, data, offset } = event;
    const limit = settings.bodyChecksSizeLimit;
    const checked = message.has("filter") && !this.#bodyCheck.tables.empty && (limit === 0 || offset < limit);
    if (checked) return this.#checkedBody(event);
    message.putText(type, data);
    return undefined;
  }

  async #checkedBody({ type, data }: MimeEvent & { kind: "body" }): Promise<void> {
    const { message } = this;
    const line = cString(data);
    const result = await applyCheck(message, this.#bodyCheck, line, (text) =>
      message.putText(Rec.NORMAL, text),
    );
    if (result === undefined) return;
    message.putText(type, result === line ? data : toBytes(result));
  }
}

/** The data up to the first NUL: what tables and log lines get. */
function cString(data: Uint8Array): string {
  const end = data.indexOf(0);
  return fromBytes(end < 0 ? data : data.subarray(0, end));
}
