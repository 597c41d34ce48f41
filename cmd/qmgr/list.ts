/** A doubly linked list whose members keep their link, so that removal and rotation take constant time in queues of any length. */

export interface Link<T> {
  readonly value: T;
  readonly previous: Link<T> | undefined;
  readonly next: Link<T> | undefined;
}

interface MutableLink<T> {
  value: T;
  previous: MutableLink<T> | undefined;
  next: MutableLink<T> | undefined;
}

export class List<T> implements Iterable<T> {
  #head: MutableLink<T> | undefined;
  #tail: MutableLink<T> | undefined;
  #length = 0;

  get head(): Link<T> | undefined {
    return this.#head;
  }
  get tail(): Link<T> | undefined {
    return this.#tail;
  }
  get first(): T | undefined {
    return this.#head?.value;
  }
  get last(): T | undefined {
    return this.#tail?.value;
  }
  get length(): number {
    return this.#length;
  }

  append(value: T): Link<T> {
    return this.insertAfter(this.#tail, value);
  }
  prepend(value: T): Link<T> {
    return this.insertAfter(undefined, value);
  }

  /** Inserts after a member; before all others when there is none. */
  insertAfter(place: Link<T> | undefined, value: T): Link<T> {
    const before = place as MutableLink<T> | undefined;
    const after = before === undefined ? this.#head : before.next;
    const link: MutableLink<T> = { value, previous: before, next: after };
    if (before === undefined) this.#head = link;
    else before.next = link;
    if (after === undefined) this.#tail = link;
    else after.previous = link;
    this.#length++;
    return link;
  }

  insertBefore(place: Link<T>, value: T): Link<T> {
    return this.insertAfter(place.previous, value);
  }

  /** Removes a member; its own pointers stay, so that a walk that stands on it can go on. */
  remove(member: Link<T>): void {
    const link = member as MutableLink<T>;
    if (link.previous === undefined) this.#head = link.next;
    else link.previous.next = link.next;
    if (link.next === undefined) this.#tail = link.previous;
    else link.next.previous = link.previous;
    this.#length--;
  }

  *[Symbol.iterator](): Iterator<T> {
    for (let link = this.#head; link !== undefined; link = link.next) yield link.value;
  }
}
