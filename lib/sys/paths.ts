/** Parts of paths. (node:path would be one more module of the runtime's in the start of every program.) */

/** What follows the last slash. */
export const baseName = (path: string): string => path.slice(path.lastIndexOf("/") + 1);

/** The directory that a path leads into, as dirname(1) names it. */
export function directoryOf(path: string): string {
  let end = path.length;
  while (end > 1 && path.charAt(end - 1) === "/") end--;
  const slash = path.lastIndexOf("/", end - 1);
  if (slash < 0) return ".";
  return slash === 0 ? "/" : path.slice(0, slash);
}
