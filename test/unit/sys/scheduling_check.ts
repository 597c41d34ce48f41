/** Runs on Bun: the policy of this process once it wakes patiently. */
import { readFileSync } from "node:fs";
import { wakePatiently } from "../../../lib/sys/scheduling.ts";

wakePatiently();
/** proc_pid_stat(5): the 41st field. */
const stat = readFileSync("/proc/self/stat", "latin1");
console.log(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[38]);
