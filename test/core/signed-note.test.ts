import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  encodeNoteKey,
  NOTE_BYTES_MAX,
  NOTE_SIGNATURES_MAX,
  parseNote,
  parseNoteKey,
  signNote,
  verifyNote,
} from "../../src/core/signed-note.ts";
import { createNoteSigner, createNoteVerifier, rawPublicKey } from "../../src/ledger/ed25519-note.ts";
import { vectorsPath } from "../support/tools.ts";

const vectors = vectorsPath();

interface NoteVectors {
  readonly keys: readonly { readonly name: string; readonly vkey: string; readonly skey?: string }[];
  readonly notes: readonly { readonly verifiedBy: string; readonly note: string }[];
}

/** `PRIVATE+KEY+<name>+<id>+base64(0x01 || seed)`, as golang.org/x/mod/sumdb/note writes it. */
function privateKeyOf(skey: string) {
  const seed = Buffer.from(skey.split("+").slice(4).join("+"), "base64").subarray(1);
  const pkcs8 = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]);
  return createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" });
}

describe.skipIf(vectors === undefined)("published notes", () => {
  const { keys, notes }: NoteVectors =
    vectors === undefined
      ? { keys: [], notes: [] }
      : JSON.parse(readFileSync(`${vectors}/tlog/signed-notes.json`, "utf8"));

  test("every key reads and writes the same, and gives the id it names", () => {
    for (const { name, vkey } of keys) {
      const parsed = parseNoteKey(vkey);
      expect(parsed?.name).toBe(name);
      expect(encodeNoteKey(name, parsed!.publicKey)).toBe(vkey);
    }
    expect(keys.length).toBeGreaterThan(3);
  });

  test("every note verifies by its key and by no other", () => {
    for (const { verifiedBy, note } of notes) {
      for (const { name, vkey } of keys) {
        expect(verifyNote(note, [createNoteVerifier(vkey)!]).kind).toBe(name === verifiedBy ? "verified" : "refused");
      }
    }
    expect(notes.length).toBeGreaterThan(1);
  });

  test("signNote() writes the published note byte for byte, Ed25519 being deterministic", () => {
    for (const { name, vkey, skey } of keys) {
      if (skey === undefined) continue;
      const signer = createNoteSigner(name, privateKeyOf(skey));
      expect(encodeNoteKey(name, rawPublicKey(privateKeyOf(skey)))).toBe(vkey);
      for (const { verifiedBy, note } of notes) {
        if (verifiedBy === name) expect(signNote(note.slice(0, note.lastIndexOf("\n\n") + 1), [signer])).toBe(note);
      }
    }
  });
});

const one = generateKeyPairSync("ed25519");
const two = generateKeyPairSync("ed25519");
const signer = createNoteSigner("one.example", one.privateKey);
const other = createNoteSigner("two.example", two.privateKey);
const vkey = encodeNoteKey("one.example", rawPublicKey(one.publicKey));
const verifier = createNoteVerifier(vkey)!;
const note = signNote("text\n", [signer]);
const line = note.slice(6);

describe("verifyNote()", () => {
  test("accepts what signNote() wrote, whatever the text", () => {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: what the format forbids
    const text = fc.string({ unit: "grapheme" }).filter((value) => !/[\u0000-\u0009\u000b-\u001f]/.test(value));
    const check = (body: string): void => {
      const signed = signNote(`${body}\n`, [other, signer]);
      const verification = verifyNote(Buffer.from(signed), [verifier]);
      expect(verification).toEqual({
        kind: "verified",
        text: `${body}\n`,
        by: [{ name: signer.name, keyId: signer.keyId }],
      });
    };
    fc.assert(fc.property(text, check), { seed: 20_261_120 });
  });

  test("refuses a note with any byte changed", () => {
    const bytes = Buffer.from(note);
    for (let at = 0; at < bytes.length; at += 1) {
      const changed = Buffer.from(bytes);
      changed[at]! ^= 1;
      expect(verifyNote(changed, [verifier]).kind).toBe("refused");
    }
  });

  test.each([
    ["", "empty"],
    ["text\n", "no signature"],
    ["text\n\n", "empty signature block"],
    [note.slice(0, -1), "no final line break"],
    [note.replace("\n\n", "\n"), "no empty line"],
    [`${note}\n`, "a line break more"],
    [note.replace("\n\n", "\n\n\n"), "two empty lines: the text is another"],
    [note.replaceAll("\n", "\r\n"), "carriage returns"],
    [note.replace("text", "te\u0000xt"), "control character"],
    [note.replace("text", "te\txt"), "tab"],
    [note.replace("— ", "- "), "hyphen for dash"],
    [note.replace("— ", "—  "), "two spaces"],
    [note.replace(/=*\n$/, "\n"), "no padding"],
    [note.replace(/\n$/, " \n"), "space at the end"],
    [`${note}garbage\n`, "a further line that is no signature"],
    [`${note}${line}`, "the same signature twice"],
    [`${note}— one.example AAAA\n`, "a signature of no bytes"],
    [note.replace("one.example", "o+e.example"), "plus sign in a name"],
    [signNote("text\n", [other]), "signed by another"],
    [signNote("text\n", [{ ...signer, sign: () => Buffer.alloc(64) }]), "zeros for a signature"],
    [signNote("text\n", [{ ...signer, sign: () => Buffer.alloc(63) }]), "short signature"],
    [signNote("text\n", [{ ...signer, keyId: (signer.keyId ^ 1) >>> 0 }]), "another key id"],
    [signNote("text\n", [{ ...signer, name: "two.example" }]), "another name"],
    [`\ud800${note}`, "lone surrogate"],
  ])("refuses %j (%s)", (hostile) => {
    expect(verifyNote(hostile, [verifier]).kind).toBe("refused");
  });

  test("refuses bytes that are not UTF-8, and a byte order mark is part of the text", () => {
    expect(verifyNote(Buffer.concat([Buffer.of(0xff), Buffer.from(note)]), [verifier]).kind).toBe("refused");
    expect(verifyNote(Buffer.concat([Buffer.of(0xef, 0xbb, 0xbf), Buffer.from(note)]), [verifier]).kind).toBe(
      "refused",
    );
  });

  test("takes 100 signatures and a million bytes, and no more", () => {
    const many = (count: number) => `text\n\n${line}${"— x.example AAAAAAAA\n".repeat(count - 1)}`;
    expect(verifyNote(many(NOTE_SIGNATURES_MAX), [verifier]).kind).toBe("verified");
    expect(verifyNote(many(NOTE_SIGNATURES_MAX + 1), [verifier]).kind).toBe("refused");
    expect(parseNote("x".repeat(NOTE_BYTES_MAX + 1))).toHaveProperty("fault");
  });

  test("refuses without verifiers", () => {
    expect(verifyNote(note, []).kind).toBe("refused");
  });
});

describe("signNote()", () => {
  test.each(["", "no line break", "a\tb\n", "\ud800\n"])("refuses to sign %j", (text) => {
    expect(() => signNote(text, [signer])).toThrow(RangeError);
  });
});

describe("parseNoteKey()", () => {
  test.each([
    "",
    "name",
    "name+00000000",
    vkey.slice(0, -1),
    vkey.toUpperCase(),
    vkey.replace("one", "two"),
    vkey.replace(/\+[0-9a-f]{8}\+/, "+00000000+"),
    ` ${vkey}`,
    `${vkey}=`,
    `${vkey}\n`,
  ])("refuses %j", (text) => {
    expect(parseNoteKey(text)).toBeUndefined();
    expect(createNoteVerifier(text)).toBeUndefined();
  });

  test("encodeNoteKey() refuses names and keys that do not fit", () => {
    for (const name of ["", "a b", "a+b", "a\nb", "a\u00a0b"])
      expect(() => encodeNoteKey(name, rawPublicKey(one.publicKey))).toThrow(RangeError);
    expect(() => encodeNoteKey("a", Buffer.alloc(31))).toThrow(RangeError);
  });
});
