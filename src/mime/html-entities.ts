/** Character references of HTML (`&#64;`, `&#x40;`, `&amp;`, `&commat;`) in values that name something. */

/** Those that stand in URLs; the others stand in running text. */
const characters: ReadonlyMap<string, string> = new Map(
  Object.entries({
    amp: '&',
    AMP: '&',
    apos: "'",
    ast: '*',
    bsol: '\\',
    colon: ':',
    comma: ',',
    commat: '@',
    dash: '‐',
    dollar: '$',
    equals: '=',
    excl: '!',
    grave: '`',
    gt: '>',
    GT: '>',
    Hat: '^',
    hyphen: '‐',
    lbrack: '[',
    lcub: '{',
    lowbar: '_',
    lpar: '(',
    lsqb: '[',
    lt: '<',
    LT: '<',
    nbsp: '\u00a0',
    NewLine: '\n',
    num: '#',
    percnt: '%',
    period: '.',
    plus: '+',
    quest: '?',
    quot: '"',
    QUOT: '"',
    rbrack: ']',
    rcub: '}',
    rpar: ')',
    rsqb: ']',
    semi: ';',
    sol: '/',
    Tab: '\t',
    vert: '|',
  }),
);

/** Browsers read these without a semicolon too. */
const mayLackSemicolon = new Set(['amp', 'AMP', 'lt', 'LT', 'gt', 'GT', 'quot', 'QUOT', 'nbsp']);

const reference = /&(?:#([0-9]+)|#[xX]([0-9a-fA-F]+)|([A-Za-z]{2,8}))(;?)/g;

/** Time: linear. What is no character reference stays. */
export function decodeEntities(text: string): string {
  if (!text.includes('&')) return text;
  return text.replace(reference, (whole, decimal?: string, hex?: string, name?: string, semicolon?: string) => {
    if (decimal !== undefined) return character(Number.parseInt(decimal, 10));
    if (hex !== undefined) return character(Number.parseInt(hex, 16));
    const known = characters.get(name ?? '');
    return known !== undefined && (semicolon === ';' || mayLackSemicolon.has(name ?? '')) ? known : whole;
  });
}

function character(code: number): string {
  const valid = code > 0 && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff);
  return valid ? String.fromCodePoint(code) : '\ufffd';
}
