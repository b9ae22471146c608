import { fileURLToPath } from "node:url";

/** Where package.json and the shipped policy library lie, beside `dist` (or `src`), with a trailing slash. */
export const packageRoot: string = fileURLToPath(new URL("../../", import.meta.url));
