/** A queue manager in memory: a clock and timers that the test moves, no files, no agents. */
import { assignRecipients } from "../../../cmd/qmgr/assign.ts";
import type { Clock, Timers } from "../../../cmd/qmgr/clock.ts";
import { parseFeedback } from "../../../cmd/qmgr/feedback.ts";
import { freeJob, moveSlotsOfMessage } from "../../../cmd/qmgr/job.ts";
import { Manager, type Services } from "../../../cmd/qmgr/manager.ts";
import { Message, type QueueFlags } from "../../../cmd/qmgr/message.ts";
import { Queue } from "../../../cmd/qmgr/queue.ts";
import type { Recipient } from "../../../cmd/qmgr/recipient.ts";
import type { Settings, TransportSettings } from "../../../cmd/qmgr/settings.ts";
import type { QueueId } from "../../../lib/queue/queue_id.ts";
import type { Timer } from "../../../lib/sys/timers.ts";

export class FakeTime implements Clock, Timers {
  seconds = 1_000_000;
  #timers: { at: number; action: () => void }[] = [];

  now(): number {
    return Math.floor(this.seconds);
  }
  timeOfDay(): { seconds: number; microseconds: number } {
    const whole = this.now();
    return { seconds: whole, microseconds: Math.floor((this.seconds - whole) * 1e6) };
  }
  after(seconds: number, action: () => void): Timer {
    const timer = { at: this.seconds + seconds, action };
    this.#timers.push(timer);
    return { cancel: () => void this.#timers.splice(this.#timers.indexOf(timer) >>> 0, 1) };
  }
  get pending(): number {
    return this.#timers.length;
  }
  advance(seconds: number): void {
    const end = this.seconds + seconds;
    for (;;) {
      const due = this.#timers.filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.#timers.splice(this.#timers.indexOf(due), 1);
      this.seconds = Math.max(this.seconds, due.at);
      due.action();
    }
    this.seconds = end;
  }
}

export const SETTINGS: Settings = {
  preemptive: true,
  portion: 20000,
  activeLimit: 20000,
  recipientLimit: 20000,
  recipientMinimum: 10,
  queueRunDelay: 300,
  minimalBackoff: 300,
  maximalBackoff: 4000,
  queueLifetime: 432000,
  bounceLifetime: 432000,
  transportRetry: 60,
  daemonTimeout: 18000,
  clogWarnTime: 300,
  helpfulWarnings: true,
  deferTransports: new Set(),
  filterNexthop: "",
  doubleBounceSender: "double-bounce",
  recipientDelimiter: "",
  myhostname: "mail.example.com",
  verpBounces: true,
  dontRemove: false,
  verpDelimiters: "-=+",
  probeLimit: 5000,
  confirmDelayCleared: false,
  inFlowDelay: 1,
  processLimit: 100,
  errorService: "error",
};

export const TRANSPORT: TransportSettings = {
  concurrencyLimit: 20,
  initialConcurrency: 5,
  recipientLimit: 50,
  positiveFeedback: parseFeedback("p", "1"),
  negativeFeedback: parseFeedback("n", "1"),
  failedCohortLimit: 1,
  feedbackDebug: false,
  destinationRateDelay: 0,
  transportRateDelay: 0,
  slotCost: 5,
  slotLoan: 3,
  slotDiscount: 50,
  minimumSlots: 3,
  memoryLimit: 20000,
  extraMemoryLimit: 1000,
  refillLimit: 100,
  refillDelay: 5,
};

export interface Fixture {
  readonly manager: Manager;
  readonly time: FakeTime;
  readonly finished: Message[];
  readonly deferred: Recipient[];
  wakes: number;
}

const NO_FLAGS: QueueFlags = { flushEach: false, flushDeferTransports: false, forceExpire: false };

export function fixture(
  transport: Partial<TransportSettings> = {},
  settings: Partial<Settings> = {},
  services: Partial<Services> = {},
): Fixture {
  const time = new FakeTime();
  const finished: Message[] = [];
  const deferred: Recipient[] = [];
  const all: Services = {
    transportSettings: () => ({ ...TRANSPORT, ...transport }),
    refill: () => {},
    finish: (message) => {
      for (const job of message.jobs) freeJob(job);
      made.manager.messageCount--;
      finished.push(message);
    },
    deferDirectly: (message, recipients) => {
      message.hasProblems = true;
      deferred.push(...recipients);
    },
    wake: () => {
      made.wakes++;
    },
    ...services,
  };
  const made: Fixture = {
    manager: new Manager({ ...SETTINGS, ...settings }, time, time, all),
    time,
    finished,
    deferred,
    wakes: 0,
  };
  return made;
}

/** A message with recipients for `transport` at one destination or at those that `destination` names. */
export function feed(
  { manager, time }: Fixture,
  id: string,
  count: number,
  transportName = "slow",
  destination: (index: number) => string = () => "[127.0.0.1]:3566",
  before: (message: Message) => void = () => {},
): Message {
  const message = new Message(
    id as QueueId,
    NO_FLAGS,
    manager.clock.now(),
    time.timeOfDay(),
    manager.settings.recipientMinimum,
  );
  message.sender = "sender@example.com";
  before(message);
  manager.messageCount++;
  const transport = manager.transport(transportName);
  const recipients: Recipient[] = [];
  for (let i = 0; i < count; i++) {
    const name = destination(i);
    recipients.push({
      offset: 100 + i,
      dsnOriginal: "",
      notify: 0,
      original: "",
      address: `x${i}@example.com`,
      queue: Queue.findOrCreate(transport, name, name),
    });
  }
  assignRecipients(manager, message, recipients);
  if (message.recipientOffset === 0) moveSlotsOfMessage(message);
  return message;
}
