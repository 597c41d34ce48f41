/** Deliveries of this process to the same file, one after another: they would only run into each other's locks. */

/** The last delivery that waits or works, by path. */
const last = new Map<string, Promise<void>>();

/** Works when everything that was to be done with `path` before is done. */
export async function inTurn<T>(path: string, work: () => Promise<T>): Promise<T> {
  const before = last.get(path);
  const { promise, resolve } = Promise.withResolvers<void>();
  last.set(path, promise);
  try {
    await before;
    return await work();
  } finally {
    resolve();
    if (last.get(path) === promise) last.delete(path);
  }
}
