/** debug_peer_list: peers whose sessions are logged as with `-v` (postconf(5)). */
import { parameter } from "../config/configuration.ts";
import { info, verbosity } from "../log/log.ts";
import type { Soon } from "../sys/when.ts";
import { MatchList } from "../tables/match.ts";

export class DebugPeers {
  private constructor(
    private readonly list: MatchList,
    private readonly added: number,
  ) {}

  static async open(): Promise<DebugPeers> {
    return new DebugPeers(
      await MatchList.open("debug_peer_list", parameter("debug_peer_list"), "namadr", {
        parentFeature: "debug_peer_list",
      }),
      parameter("debug_peer_level"),
    );
  }

  /** What is added to the verbosity of a session with this peer, or for this destination: debug_peer_level or 0. */
  level(name: string, address: string, destination?: string): Soon<number> {
    return this.list.empty ? 0 : this.levelOf(name, address, destination);
  }

  private async levelOf(name: string, address: string, destination?: string): Promise<number> {
    const listed =
      (await this.list.matchesOrFatal(name, address)) ||
      (destination !== undefined && (await this.list.matchesOrFatal(destination, "")));
    return listed ? this.added : 0;
  }
}

/** Logs one line of a dialogue, as `> PEER: text` when it was sent, when the verbosity with the session's own level is one or more. */
export function logDialogue(level: number, direction: "<" | ">", peer: string, text: string): void {
  if (verbosity() + level >= 1) info(`${direction} ${peer}: ${text}`);
}
