/** Ed25519 keys as signers and verifiers of notes. */
import { createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { type NoteSigner, type NoteVerifier, noteKeyId, parseNoteKey } from "../core/signed-note.ts";

export function rawPublicKey(key: KeyObject): Buffer {
  const { x } = (key.type === "private" ? createPublicKey(key) : key).export({ format: "jwk" });
  return Buffer.from(x ?? "", "base64url");
}

export function createNoteSigner(name: string, privateKey: KeyObject): NoteSigner {
  const keyId = noteKeyId(name, rawPublicKey(privateKey));
  return { name, keyId, sign: (message) => sign(null, message, privateKey) };
}

/** @param vkey `<name>+<key id>+<key>`; undefined where it is malformed */
export function createNoteVerifier(vkey: string): NoteVerifier | undefined {
  const parsed = parseNoteKey(vkey);
  if (parsed === undefined) return undefined;
  const x = Buffer.from(parsed.publicKey).toString("base64url");
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  return {
    name: parsed.name,
    keyId: parsed.keyId,
    verify: (message, signature) => verify(null, message, key, signature),
  };
}
