/** What trivial-rewrite(8) said lately, and what it is being asked: the same question is asked once (ipc.md 3.5). */
import { plainDomain, RESOLVE_FLAG, type Resolved, WHOLE_DOMAIN } from "../protocols/rewrite.ts";

/** Answers stay good for so long. */
const CACHE_SECONDS = 30;
const CACHE_ENTRIES = 1000;

/** Remembers the latest answers, each for a limited time. */
export class RecentAnswers<T> {
  readonly #entries = new Map<string, { readonly value: T; readonly expires: number }>();

  /** `now` is in seconds. */
  constructor(private readonly now: () => number = () => performance.now() / 1000) {}

  get(key: string): T | undefined {
    const entry = this.#entries.get(key);
    return entry !== undefined && this.now() < entry.expires ? entry.value : undefined;
  }
  set(key: string, value: T): void {
    this.#entries.delete(key);
    const [oldest] = this.#entries.keys();
    if (this.#entries.size >= CACHE_ENTRIES && oldest !== undefined) this.#entries.delete(oldest);
    this.#entries.set(key, { value, expires: this.now() + CACHE_SECONDS });
  }
}

export type ResolveRequestName = "resolve" | "verify";
type Ask = (sender: string, address: string, request: ResolveRequestName) => Promise<Resolved>;

export class ResolveCache {
  readonly #answers: RecentAnswers<Resolved>;
  readonly #domains: RecentAnswers<Resolved>;
  readonly #asked = new Map<string, Promise<Resolved>>();
  readonly #domainsAsked = new Map<string, Promise<Resolved>>();
  /** The latest answer for a plain address was good for its domain: the next one is worth waiting for. */
  #expectsDomains = true;

  constructor(
    private readonly ask: Ask,
    now?: () => number,
  ) {
    this.#answers = new RecentAnswers(now);
    this.#domains = new RecentAnswers(now);
  }

  /** The answer at once where it is known. */
  resolve(sender: string, address: string, request: ResolveRequestName): Resolved | Promise<Resolved> {
    const domain = plainDomain(address);
    const domainQuestion = domain === undefined ? undefined : `${request}\0${domain}`;
    if (domainQuestion !== undefined) {
      const forAll = this.#domains.get(domainQuestion);
      if (forAll !== undefined) return { ...forAll, recipient: address };
    }
    const question = `${request}\0${sender}\0${address}`;
    const asked = this.#answers.get(question) ?? this.#asked.get(question);
    if (asked !== undefined) return asked;
    const other = domainQuestion === undefined ? undefined : this.#domainsAsked.get(domainQuestion);
    if (other !== undefined && this.#expectsDomains)
      return other.then(() => this.resolve(sender, address, request));
    const answer = this.#question(question, domainQuestion, sender, address, request);
    this.#asked.set(question, answer);
    if (domainQuestion !== undefined && other === undefined) this.#domainsAsked.set(domainQuestion, answer);
    return answer;
  }

  async #question(
    question: string,
    domainQuestion: string | undefined,
    sender: string,
    address: string,
    request: ResolveRequestName,
  ): Promise<Resolved> {
    try {
      const answer = await this.ask(sender, address, request);
      const resolved = { ...answer, flags: answer.flags & ~WHOLE_DOMAIN };
      if (domainQuestion !== undefined) {
        this.#expectsDomains = (answer.flags & WHOLE_DOMAIN) !== 0;
        if (this.#expectsDomains) this.#domains.set(domainQuestion, resolved);
      }
      if ((answer.flags & RESOLVE_FLAG.fail) === 0) this.#answers.set(question, resolved);
      return resolved;
    } finally {
      this.#asked.delete(question);
      if (domainQuestion !== undefined) this.#domainsAsked.delete(domainQuestion);
    }
  }
}
