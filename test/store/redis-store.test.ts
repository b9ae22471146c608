import { conformance } from "./conformance.ts";
import { redisHarness } from "./harnesses.ts";

conformance("redis store", redisHarness);
