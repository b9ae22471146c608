import { conformance } from "./conformance.ts";
import { contextConformance } from "./context-conformance.ts";
import { redisHarness } from "./harnesses.ts";

conformance("redis store", redisHarness);
contextConformance("redis store", redisHarness);
