import type { IntegrityError } from "../../../core/errors.ts";
import { corrupted } from "../../record-text.ts";
import type { Script } from "./script.ts";

/** For every word that a script's wrapper does not know, `corrupt` among them: what is stored is not what we wrote. */
export function badReply(script: Script, word: string): IntegrityError {
  return corrupted(
    word === "corrupt" ? "record" : "reply",
    new Error(`${script.name}.lua replied ${JSON.stringify(word)}`),
  );
}
