#!/usr/bin/env node
/** The command line. The only reader of process.env and of the arguments. */
import { run } from "./cli/run.ts";

process.exitCode = await run(process.argv.slice(2), process.env);
