/** Replacing this process by another program. */

import { SysError } from "./errno.ts";
import { cString, errno, ffi, library } from "./ffi.ts";
import { closeSync } from "./fs.ts";

const libc = library(["libc.so.6", "libc.so"], {
  execve: { args: ["ptr", "ptr", "ptr"], returns: "i32" },
  dup2: { args: ["i32", "i32"], returns: "i32" },
});

const descriptors = library(["libc.so.6", "libc.so"], {
  close_range: { args: ["u32", "u32", "i32"], returns: "i32" },
});
const CLOSE_RANGE_CLOEXEC = 4;

/** execve(): returns only by throwing. The new program has descriptors 0 to 2 and no other. */
export function replaceProcess(
  path: string,
  argv: ReadonlyArray<string>,
  environment: ReadonlyMap<string, string>,
): never {
  const { words, variables, release } = execVectors(argv, environment);
  descriptors().close_range(3, 0xffffffff, CLOSE_RANGE_CLOEXEC);
  libc().execve(ffi().ptr(cString(path)), ffi().ptr(words), ffi().ptr(variables));
  const code = errno();
  release();
  throw new SysError("execve", code, path);
}

/** argv and envp as the kernel wants them; what they point to stays until `release` has been called. */
export function execVectors(
  argv: ReadonlyArray<string>,
  environment: ReadonlyMap<string, string>,
): { readonly words: BigUint64Array; readonly variables: BigUint64Array; release(): void } {
  const kept: Buffer[] = [];
  const words = vector(argv, kept);
  const variables = vector(
    [...environment].map(([name, value]) => `${name}=${value}`),
    kept,
  );
  return {
    words,
    variables,
    release: () => {
      kept.length = 0;
    },
  };
}

/** The pointers of an argv or envp; `kept` holds what they point to. */
function vector(texts: ReadonlyArray<string>, kept: Buffer[]): BigUint64Array {
  const pointers = new BigUint64Array(texts.length + 1);
  texts.forEach((text, index) => {
    const bytes = cString(text);
    kept.push(bytes);
    pointers[index] = BigInt(ffi().ptr(bytes));
  });
  return pointers;
}

/** Makes `target` another name of `fd`, and closes `fd`. */
export function moveDescriptor(fd: number, target: number): void {
  if (fd === target) return;
  if (libc().dup2(fd, target) < 0) throw new SysError("dup2", errno(), String(fd));
  closeSync(fd);
}
