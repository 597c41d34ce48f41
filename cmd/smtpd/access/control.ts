/** Access control at each stage of the dialogue: which lists run, and what their verdicts make of the command (smtpd.md 20.1). */
import { configuration } from "../../../lib/config/configuration.ts";
import { info } from "../../../lib/log/log.ts";
import { equalFold } from "../../../lib/sys/bytes.ts";
import { inTurn, type Soon, when } from "../../../lib/sys/when.ts";
import type { RestrictionList } from "../restriction_lists.ts";
import type { Session } from "../session.ts";
import { SessionEnd } from "../session_end.ts";
import { type AccessActions, noActions } from "../transaction.ts";
import { evaluateList } from "./engine.ts";
import { Evaluation, EvaluationEnd, type Frame, HangUp, type Refusal, type Subject } from "./evaluation.ts";
import { rejectUnlistedRecipient, rejectUnlistedSender } from "./listed.ts";

export class AccessControl {
  /** Deferrals that the lists of earlier stages left, with smtpd_delay_reject = no. */
  private clientDeferral: Refusal | undefined;
  private heloDeferral: Refusal | undefined;
  private senderDeferral: Refusal | undefined;

  constructor(private readonly session: Session) {}

  private evaluation(
    stage: Subject["stage"],
    parts: Partial<Subject>,
    actions: AccessActions | undefined,
  ): Evaluation {
    const { session } = this;
    const subject: Subject = {
      stage,
      helo: session.heloName,
      sender: session.transaction?.sender,
      recipient: undefined,
      recipientCount: session.transaction?.recipientCount ?? 0,
      ...parts,
    };
    return new Evaluation(session, subject, actions, evaluateList);
  }

  /** Runs a stage; the reply that refuses the command, or undefined. */
  private run(evaluation: Evaluation, stage: () => Soon<unknown>): Soon<string | undefined> {
    const reply = (): string | undefined => (evaluation.reply === "" ? undefined : evaluation.reply);
    const onError = (error: unknown): string | undefined => {
      if (error instanceof HangUp) throw new SessionEnd("quiet");
      if (!(error instanceof EvaluationEnd)) throw error;
      return reply();
    };
    try {
      const pending = stage();
      return pending instanceof Promise ? pending.then(reply, onError) : reply();
    } catch (error) {
      return onError(error);
    }
  }

  private list(evaluation: Evaluation, name: RestrictionList, frame: Frame): Soon<unknown> {
    const list = this.session.policy.lists.get(name);
    return list === undefined || list.length === 0 ? undefined : evaluateList(evaluation, list, frame);
  }

  private clientFrame(): Frame {
    return { name: this.session.nameAddress, class: "Client host", tableCheck: "check_client_access" };
  }

  /** At connect, with smtpd_delay_reject = no. */
  client(): Soon<string | undefined> {
    const evaluation = this.evaluation("CONNECT", { helo: undefined, sender: undefined }, undefined);
    return this.run(evaluation, async () => {
      await this.list(evaluation, "smtpd_client_restrictions", this.clientFrame());
      this.clientDeferral = evaluation.deferIfPermit;
    });
  }

  /** At HELO, with smtpd_delay_reject = no; the name is as typed. */
  async helo(name: string): Promise<string | undefined> {
    const { session } = this;
    const before = session.heloName;
    const evaluation = this.evaluation("HELO", { helo: name, sender: undefined }, undefined);
    evaluation.deferIfPermit = this.clientDeferral;
    session.heloName = name;
    try {
      return await this.run(evaluation, async () => {
        await this.list(evaluation, "smtpd_helo_restrictions", heloFrame(name));
        this.heloDeferral = evaluation.deferIfPermit;
      });
    } finally {
      session.heloName = before;
    }
  }

  /** At MAIL, with smtpd_delay_reject = no. */
  mail(sender: string): Soon<string | undefined> {
    const { transaction } = this.session;
    const evaluation = this.evaluation("MAIL", { sender }, transaction?.actions);
    evaluation.deferIfPermit = this.clientDeferral ?? this.heloDeferral;
    return this.run(evaluation, async () => {
      await this.senderList(evaluation, sender);
      this.senderDeferral = evaluation.deferIfPermit;
    });
  }

  private senderList(evaluation: Evaluation, sender: string): Soon<unknown> {
    const frame: Frame = { name: sender, class: "Sender address", tableCheck: "check_sender_access" };
    return when(this.list(evaluation, "smtpd_sender_restrictions", frame), () =>
      sender === "" || isDone(evaluation) || !this.session.settings.rejectUnlistedSender
        ? undefined
        : rejectUnlistedSender(evaluation, { ...frame, tableCheck: undefined }, none, ""),
    );
  }

  /** At RCPT. */
  rcpt(recipient: string): Soon<string | undefined> {
    return this.recipient("RCPT", recipient, this.session.transaction?.actions);
  }

  /** VRFY asks as RCPT does and leaves no trace in the transaction. */
  verify(recipient: string): Soon<string | undefined> {
    const { transaction } = this.session;
    return this.recipient("VRFY", recipient, transaction === undefined ? undefined : noActions());
  }

  private recipient(
    stage: "RCPT" | "VRFY",
    recipient: string,
    actions: AccessActions | undefined,
  ): Soon<string | undefined> {
    const { settings } = this.session;
    // RFC 5321 section 4.5.1: mail for the postmaster is accepted.
    if (equalFold(recipient, "postmaster")) return undefined;
    const evaluation = this.evaluation(stage, { recipient }, actions);
    const frame: Frame = {
      name: recipient,
      class: "Recipient address",
      tableCheck: "check_recipient_access",
    };
    return this.run(evaluation, () => {
      // a message that is thrown away is not looked at any more
      if (isDone(evaluation)) return undefined;
      if (!settings.delayReject)
        evaluation.deferIfPermit = this.senderDeferral ?? this.heloDeferral ?? this.clientDeferral;
      const earlier = settings.delayReject
        ? this.earlierLists(evaluation, evaluation.subject.sender)
        : undefined;
      return when(earlier, () => {
        evaluation.deferIfReject = undefined;
        const lists = settings.relayBeforeRecipient ? RELAY_FIRST : RECIPIENT_FIRST;
        return when(
          inTurn(lists, (name) => this.recipientList(evaluation, name, frame)),
          () => {
            this.settle(evaluation);
            return isDone(evaluation) || !settings.rejectUnlistedRecipient
              ? undefined
              : rejectUnlistedRecipient(evaluation, frame, none, "");
          },
        );
      });
    });
  }

  /** One of the two lists about the recipient, unless all is said already. */
  private recipientList(evaluation: Evaluation, name: RestrictionList, frame: Frame): Soon<unknown> {
    if (isDone(evaluation)) return undefined;
    if (name === "smtpd_recipient_restrictions")
      return when(this.list(evaluation, name, frame), () => this.noteOrder(evaluation, frame));
    return when(this.compatibleRelay(evaluation, frame), () => this.list(evaluation, name, frame));
  }

  private earlierLists(evaluation: Evaluation, sender: string | undefined): Soon<unknown> {
    const { heloName } = this.session;
    return when(this.list(evaluation, "smtpd_client_restrictions", this.clientFrame()), () => {
      evaluation.deferIfReject = undefined;
      const helo =
        isDone(evaluation) || heloName === undefined
          ? undefined
          : this.list(evaluation, "smtpd_helo_restrictions", heloFrame(heloName));
      return when(helo, () => {
        evaluation.deferIfReject = undefined;
        return isDone(evaluation) || sender === undefined ? undefined : this.senderList(evaluation, sender);
      });
    });
  }

  /** A deferral that was saved becomes the verdict, unless there is one. */
  private settle(evaluation: Evaluation): void {
    const refusal = evaluation.deferIfPermit;
    if (evaluation.reply !== "" || refusal === undefined) return;
    evaluation.deferIfReject = undefined;
    evaluation.reject(refusal.errorClass, refusal.code, refusal.dsn, refusal.text);
  }

  /** Before compatibility level 3.6 the recipient list comes first: says whom that refused before relay control could. */
  private noteOrder(evaluation: Evaluation, frame: Frame): void {
    const { settings, nameAddress } = this.session;
    if (evaluation.reply === "" || settings.relayBeforeRecipient) return;
    if (configuration().isSet("smtpd_relay_before_recipient_restrictions")) return;
    info(
      `using backwards-compatible default setting smtpd_relay_before_recipient_restrictions=no to reject recipient "${frame.name}" from client "${nameAddress}"`,
    );
  }

  /** Before compatibility level 1 an empty smtpd_relay_restrictions is no list; says whom the default would have refused. */
  private compatibleRelay(evaluation: Evaluation, frame: Frame): Soon<void> {
    const { session } = this;
    const list = session.policy.lists.get("smtpd_relay_restrictions") ?? [];
    if (list.length > 0 || configuration().isSet("smtpd_relay_restrictions")) return;
    const trial = this.evaluation(evaluation.subject.stage, evaluation.subject, noActions());
    return when(evaluateList(trial, DEFAULT_RELAY, frame), (verdict) => {
      if (verdict === "permit") return;
      info(
        `using backwards-compatible default setting "smtpd_relay_restrictions = (empty)" to avoid "Relay access denied" error for recipient "${frame.name}" from client "${session.nameAddress}"`,
      );
    });
  }

  /** Message-wide lists see the recipient when there is only one. */
  private content(stage: "DATA" | "END-OF-MESSAGE", size?: number): Evaluation {
    const { transaction } = this.session;
    const only = transaction?.recipientCount === 1 ? transaction.firstRecipient : undefined;
    return this.evaluation(
      stage,
      { recipient: only, ...(size === undefined ? {} : { size }) },
      transaction?.actions,
    );
  }

  private isEmpty(name: RestrictionList): boolean {
    return (this.session.policy.lists.get(name)?.length ?? 0) === 0;
  }

  /** At DATA, or the first BDAT. */
  data(): Soon<string | undefined> {
    if (this.isEmpty("smtpd_data_restrictions")) return undefined;
    const evaluation = this.content("DATA");
    return this.run(evaluation, async () => {
      if (evaluation.actions?.discard === true) return;
      await this.list(evaluation, "smtpd_data_restrictions", {
        name: "DATA",
        class: "Data command",
        tableCheck: undefined,
      });
      this.settle(evaluation);
    });
  }

  /** When the message is there; `size` is what was received. */
  endOfData(size: number): Soon<string | undefined> {
    if (this.isEmpty("smtpd_end_of_data_restrictions")) return undefined;
    const evaluation = this.content("END-OF-MESSAGE", size);
    return this.run(evaluation, async () => {
      if (evaluation.actions?.discard === true) return;
      const frame: Frame = { name: "END-OF-MESSAGE", class: "End-of-data", tableCheck: undefined };
      await this.list(evaluation, "smtpd_end_of_data_restrictions", frame);
      this.settle(evaluation);
    });
  }

  etrn(domain: string): Soon<string | undefined> {
    const { session } = this;
    const evaluation = this.evaluation("ETRN", { etrnDomain: domain, sender: undefined }, undefined);
    return this.run(evaluation, async () => {
      if (session.settings.delayReject) await this.earlierLists(evaluation, undefined);
      else evaluation.deferIfPermit = this.clientDeferral ?? this.heloDeferral;
      if (evaluation.reply !== "") return;
      evaluation.deferIfReject = undefined;
      await this.list(evaluation, "smtpd_etrn_restrictions", {
        name: domain,
        class: "Etrn command",
        tableCheck: "check_etrn_access",
      });
      this.settle(evaluation);
    });
  }
}

const RELAY_FIRST = ["smtpd_relay_restrictions", "smtpd_recipient_restrictions"] as const;
const RECIPIENT_FIRST = RELAY_FIRST.toReversed();
const DEFAULT_RELAY = ["permit_mynetworks", "permit_sasl_authenticated", "permit_auth_destination"];

/** Refused, or accepted to be thrown away. */
const isDone = ({ reply, actions }: Evaluation): boolean => reply !== "" || actions?.discard === true;

const heloFrame = (name: string): Frame => ({ name, class: "Helo command", tableCheck: "check_helo_access" });
const none = (): undefined => undefined;
