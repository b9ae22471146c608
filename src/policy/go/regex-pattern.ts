/**
 * Where RE2JS and Go's regexp part. Their parsers are ports of one program, and differ in the names of Unicode classes
 * that they take, in groups of one name, in the limits on size, and in the edition of Unicode: RE2JS has 17, Go 1.26
 * has 15.
 */
import { RE2JSSyntaxException } from "re2js";

/** General categories and scripts that both have, and have with the same members. */
const STABLE_CLASSES = new Set(
  (
    "Adlam Ahom Anatolian_Hieroglyphs Armenian Avestan Bamum Bassa_Vah Batak Bengali Bhaiksuki Bopomofo " +
    "Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian Caucasian_Albanian Cc Cf Chakma Cham " +
    "Cherokee Chorasmian Co Coptic Cs Cuneiform Cypriot Cypro_Minoan Deseret Devanagari Dives_Akuru Dogra " +
    "Duployan Elbasan Elymaic Ethiopic Georgian Glagolitic Gothic Grantha Greek Gujarati Gunjala_Gondi " +
    "Gurmukhi Hangul Hanifi_Rohingya Hanunoo Hatran Hebrew Hiragana Imperial_Aramaic " +
    "Inscriptional_Pahlavi Inscriptional_Parthian Javanese Kaithi Katakana Kayah_Li Kharoshthi Khmer " +
    "Khojki Khudawadi Lao Lepcha Limbu Linear_A Linear_B Lisu Lt Lycian Lydian Mahajani Makasar Malayalam " +
    "Mandaic Manichaean Marchen Masaram_Gondi Me Medefaidrin Meetei_Mayek Mende_Kikakui Meroitic_Cursive " +
    "Meroitic_Hieroglyphs Miao Modi Mongolian Mro Multani Nabataean Nag_Mundari Nandinagari New_Tai_Lue " +
    "Newa Nko No Nushu Nyiakeng_Puachue_Hmong Ogham Ol_Chiki Old_Hungarian Old_Italic Old_North_Arabian " +
    "Old_Permic Old_Persian Old_Sogdian Old_South_Arabian Old_Turkic Old_Uyghur Oriya Osage Osmanya " +
    "Pahawh_Hmong Palmyrene Pau_Cin_Hau Pc Pe Pf Phags_Pa Phoenician Pi Ps Psalter_Pahlavi Rejang Runic " +
    "Samaritan Saurashtra Shavian Siddham SignWriting Sinhala Sk Sogdian Sora_Sompeng Soyombo Sundanese " +
    "Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Takri Tamil Tangsa Thaana Thai Tibetan " +
    "Tifinagh Tirhuta Toto Ugaritic Vai Vithkuqi Wancho Warang_Citi Yezidi Yi Z Zanabazar_Square Zl Zp Zs"
  ).split(" "),
);

/** Those that grew since Unicode 15: the same but for the code points of `CHANGED`. */
const GROWN_CLASSES = new Set(
  (
    "Arabic Balinese C Common Cyrillic Egyptian_Hieroglyphs Han Inherited Kannada Kawi " +
    "Khitan_Small_Script L Latin Ll Lm Lo Lu M Mc Mn Myanmar N Nd Nl P Pd Po S Sc Sharada Sm So Tangut " +
    "Telugu"
  ).split(" "),
);

/**
 * Code points whose category, script or case folding is not the same in both, with what they fold to, and some
 * neighbours that are in neither edition.
 */
const CHANGED = codePoints(
  "019b 0264 0295 0390 03b0 088f-0897 0c5c 0cdc 1acf-1aeb 1b4e-1b4f 1b7f 1c89-1c8a 1fd3-1fe3 20c1 2427-2429 " +
    "2b96 2ffc-2fff 31e4-31ef a7cb-a7dc a7f1 fb05-fb06 fbc3-fbd2 fd90-fd91 fdc8-fdce 105c0-105f3 10940-10959 " +
    "10d40-10d8f 10ec2-10ed8 10efa-10efc 11380-113e2 116d0-116e3 1171e 11b60-11b67 11bc0-11bf9 11db0-11de9 " +
    "11f5a 13460-143fa 16100-16139 16d40-16d79 16ea0-16ed3 16ff2-16ff6 187f8-187ff 18cff-18d1e 18d80-18df2 " +
    "1cc00-1cef0 1e5d0-1e5ff 1e6c0-1e6ff 1f6d8 1f777-1f77a 1f8b2-1f8d8 1fa54-1fa57 1fa89-1fa8f 1fabe-1faef " +
    "1fbcb-1fbfa 2b73a-2b73f 2cea2-2cead 2ebf0-2ee5d 323b0-33479",
);

function codePoints(ranges: string): RegExp {
  return new RegExp(`[${ranges.replace(/[0-9a-f]+/g, "\\u{$&}").replaceAll(" ", "")}]`, "u");
}

/** More levels of groups come near Go's limit on nesting, which is counted in another way. */
const DEPTH_MAX = 200;

const QUOTED_OR_ESCAPE = /\\Q.*?(?:\\E|$)|\\[pP](\{\^?([^}]*)\}?|.)?|\\.|[()]|\(\?[a-zA-Z-]*i/gsu;

export interface PatternTraits {
  /** Its answer depends on the edition of Unicode for some texts: ask `checkText`. */
  readonly isUnicodeSensitive: boolean;
}

/** @throws RangeError for a pattern that Go and RE2JS could read differently */
export function readPattern(pattern: string): PatternTraits {
  let isUnicodeSensitive = /\(\?[a-zA-Z]*i/.test(pattern);
  let depth = 0;
  for (const [token, shape, braced] of pattern.matchAll(QUOTED_OR_ESCAPE)) {
    if (token === "(" && ++depth > DEPTH_MAX)
      throw new RangeError("A regular expression nested this deep is not supported");
    else if (token === ")") depth--;
    else if (token.startsWith("\\p") || token.startsWith("\\P")) {
      const name = braced ?? shape ?? "";
      if (GROWN_CLASSES.has(name)) isUnicodeSensitive = true;
      else if (!STABLE_CLASSES.has(name))
        throw new RangeError(`The class ${token} in a regular expression is not supported`);
    }
  }
  return { isUnicodeSensitive };
}

/** @throws RangeError for a text that holds code points on which the editions of Unicode differ */
export function checkText(text: string): void {
  if (CHANGED.test(text)) throw new RangeError("Code points newer than Unicode 15 are not supported in this match");
}

/** What the two parsers refuse for the same reason; not the limits, not names. */
const SHARED_REFUSALS = new Set([
  "invalid character class range",
  "invalid escape sequence",
  "invalid named capture",
  "invalid or unsupported Perl syntax",
  "invalid nested repetition operator",
  "invalid repeat count",
  "missing closing ]",
  "missing closing )",
  "missing argument to repetition operator",
  "trailing backslash at end of expression",
  "unexpected )",
]);

/** Whether what RE2JS threw means that Go refuses the pattern as well. */
export function isInvalidInGo(thrown: unknown): boolean {
  return thrown instanceof RE2JSSyntaxException && SHARED_REFUSALS.has(thrown.getDescription());
}
