/** A value that is there, or will be. Waiting for what is there costs a turn of the promise machinery, which in a hot path is most of the work. */
export type Soon<T> = T | Promise<T>;

/** Goes on with a value: at once when it is there. */
export const when = <T, R>(value: Soon<T>, next: (value: T) => Soon<R>): Soon<R> =>
  value instanceof Promise ? value.then(next) : next(value);

/** Does something for each item in turn; only what is not done at once is waited for. */
export function inTurn<T>(
  items: ReadonlyArray<T>,
  action: (item: T) => Soon<unknown>,
  first = 0,
): Soon<void> {
  for (let index = first; index < items.length; index++) {
    const pending = action(items[index] as T);
    if (pending instanceof Promise) return pending.then(() => inTurn(items, action, index + 1));
  }
}
