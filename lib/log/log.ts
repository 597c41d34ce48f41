/** Logging for every program. Where lines go is decided by `lib/log/setup.ts`; before that (and in unit tests) they go nowhere. */
import { printable } from "../sys/bytes.ts";
import { errorText as errorTextOf } from "../sys/errno.ts";
import type { Level, LogEvent } from "./event.ts";

/** Receives each line, already masked (logging.md 3). */
export type LogSink = (event: LogEvent) => void;

const ERROR_LIMIT = 13;

interface LogState {
  sinks: ReadonlyArray<LogSink>;
  utf8: boolean;
  verbosity: number;
  errors: number;
  /** What a program must do before it dies by fatal() or panic(), such as removing an unfinished file. */
  cleanups: Set<() => void>;
  exitStatus: number;
  /** Seconds between a fatal line and the exit; Postfix waits one so that a broken daemon does not spin. */
  fatalDelay: number;
}

const state: LogState = {
  sinks: [],
  utf8: false,
  verbosity: 0,
  errors: 0,
  cleanups: new Set(),
  exitStatus: 1,
  fatalDelay: 1,
};

/** Replaces the outputs; returns the previous ones. */
export function setLogSinks(sinks: ReadonlyArray<LogSink>): ReadonlyArray<LogSink> {
  const previous = state.sinks;
  state.sinks = sinks;
  return previous;
}
/** UTF-8 passes the mask (smtputf8_enable). */
export const setLogUtf8 = (enabled: boolean): void => {
  state.utf8 = enabled;
};
export const setVerbosity = (level: number): void => {
  state.verbosity = level;
};
/** Number of -v options. */
export const verbosity = (): number => state.verbosity;
/** Status with which fatal() ends this program (commands with sysexits statuses). */
export const setFatalStatus = (status: number): void => {
  state.exitStatus = status;
};
/** Seconds between a fatal line and the end; sendmail, postqueue and postlock end at once. */
export const setFatalDelay = (seconds: number): void => {
  state.fatalDelay = seconds;
};
/** Registers work for the death by fatal(), panic() or a signal; returns the function that takes it back. */
export function onDeath(cleanup: () => void): () => void {
  state.cleanups.add(cleanup);
  return () => state.cleanups.delete(cleanup);
}
/** Runs and forgets what onDeath() registered. */
export function runDeathCleanups(): void {
  const cleanups = [...state.cleanups];
  state.cleanups.clear();
  for (const cleanup of cleanups) cleanup();
}

/** Logs an event. The 13th error of a process ends it, as in Postfix. */
export function log(event: LogEvent): void {
  emit(event);
  if (event.level === "error" && ++state.errors >= ERROR_LIMIT) fatal("too many errors - program terminated");
}

/** Logs an event that tells of another program's state: an error does not count as this one's. */
export const logRecord = (event: LogEvent): void => emit(event);

/** A text as it stands in log lines. */
export const loggable = (text: string): string => printable(text, state.utf8);

function emit(event: LogEvent): void {
  const text = loggable(event.text);
  const masked = text === event.text ? event : { ...event, text };
  for (const sink of state.sinks) sink(masked);
}

const message = (level: Level, text: string): LogEvent => ({ level, event: "message", text, fields: {} });

export const info = (text: string): void => log(message("info", text));
export const warning = (text: string): void => log(message("warning", text));
export const error = (text: string): void => log(message("error", text));
/** Logged only with -v (at least `level` of them). */
export function verbose(text: () => string, level = 1): void {
  if (state.verbosity >= level) info(text());
}

/** Logs `fatal: text`, cleans up, waits a second and ends the process. */
export function fatal(text: string, status: number = state.exitStatus): never {
  emit(message("fatal", text));
  runDeathCleanups();
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, state.fatalDelay * 1000);
  process.exit(status);
}

/** A broken invariant: logs `panic: text`, cleans up, waits a second and aborts. */
export function panic(text: string): never {
  emit(message("panic", text));
  runDeathCleanups();
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, state.fatalDelay * 1000);
  process.abort();
}

/** Ends one client of a daemon where Postfix's one-client process would die: the skeleton logs `fatal: text` and drops the client. */
export class ClientAbort extends Error {
  constructor(text: string) {
    super(text);
    this.name = "ClientAbort";
  }
}

/** Logs a fatal condition that ends something else than this process: a client's session, a process that could not be started. */
export const logFatal = (text: string): void => emit(message("fatal", text));
export const logClientAbort = (abort: ClientAbort): void => logFatal(abort.message);

/** Does something whose failure must not stop the rest, and says so when it fails: `warning: WHAT: reason`. */
export function check(what: string, action: () => void): boolean {
  try {
    action();
    return true;
  } catch (failure) {
    if (failure instanceof TypeError || failure instanceof RangeError) throw failure;
    warning(`${what}: ${errorTextOf(failure)}`);
    return false;
  }
}
