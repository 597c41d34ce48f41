/**
 * The runtime's compiler. The executables start with it held back (packaging/compile_options.ts): code that runs for the first time, and mostly
 * for the last, costs less when it is interpreted.
 */
export const compileAsUsual = (): void => Bun.unsafe.setJITPolicy(1);
