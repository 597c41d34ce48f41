/** message_size_limit as a limit of the process: no file of a single-message program gets larger, envelope included. */
import { parameter } from "../config/configuration.ts";
import { ignoreSignal, resourceLimit, setResourceLimit } from "../sys/process.ts";

const SIGXFSZ = 25;

export function limitFileSize(): void {
  const limit = parameter("message_size_limit");
  const current = resourceLimit("fileSize");
  if (limit <= 0 || (current !== undefined && current <= limit)) return;
  ignoreSignal(SIGXFSZ);
  setResourceLimit("fileSize", limit, true);
}
