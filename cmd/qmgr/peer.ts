/** A peer: what one job has for one destination. */
import type { Entry } from "./entry.ts";
import type { Job } from "./job.ts";
import { type Link, List } from "./list.ts";
import type { Queue } from "./queue.ts";

/** A job with more destinations than this has an index of them; the many with one or two do without. */
const SEARCH_LIMIT = 8;

function findPeer(job: Job, queue: Queue): Peer | undefined {
  if (job.peerOf !== undefined) return job.peerOf.get(queue);
  for (let link = job.peers.tail; link !== undefined; link = link.previous)
    if (link.value.queue === queue) return link.value;
  return undefined;
}

export class Peer {
  readonly job: Job;
  readonly queue: Queue;
  /** Entries that no delivery agent has yet. */
  readonly entries = new List<Entry>();
  /** Entries that exist, those in delivery included. */
  references = 0;
  link: Link<Peer> | undefined;

  constructor(job: Job, queue: Queue) {
    this.job = job;
    this.queue = queue;
  }

  static findOrCreate(job: Job, queue: Queue): Peer {
    const known = findPeer(job, queue);
    if (known !== undefined) return known;
    const peer = new Peer(job, queue);
    peer.link = job.peers.append(peer);
    if (job.peerOf !== undefined) job.peerOf.set(queue, peer);
    else if (job.peers.length > SEARCH_LIMIT)
      job.peerOf = new Map(Array.from(job.peers, (each) => [each.queue, each]));
    return peer;
  }

  discard(): void {
    if (this.link === undefined) return;
    this.job.peers.remove(this.link);
    this.job.peerOf?.delete(this.queue);
    this.link = undefined;
  }
}

/** The next destination of a job that can take an entry now, round robin. */
export function selectPeer(job: Job): Peer | undefined {
  for (let link = job.peers.head; link !== undefined; link = link.next) {
    const peer = link.value;
    if (peer.queue.window > peer.queue.busy.length && peer.entries.length > 0) {
      job.peers.remove(link);
      peer.link = job.peers.append(peer);
      return peer;
    }
  }
  return undefined;
}
