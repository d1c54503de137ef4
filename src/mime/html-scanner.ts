/**
 * Finds the attributes and the style sheets of HTML that comes in pieces. It reads tags as browsers do, and never fails.
 *
 * States:
 * - `text`: between tags; left at `<`.
 * - `tag-open`: after `<`; the next character decides whether a tag begins.
 * - `declaration`: after `<!`, until it is known whether a comment begins.
 * - `comment-open`: after `<!--`, until it is known whether the comment is a condition. Outlook writes the images it shows
 *   into `<!--[if gte vml 1]>…<![endif]-->`, so what such a comment holds is read like the rest.
 * - `comment`: until `-->`.
 * - `skipped`: an end tag, or what a browser takes for a comment; until `>`.
 * - `tag-name`, `attributes` (between two of them), `name`, `after-name`, `value-begin`, `quoted`, `bare`: inside a tag.
 * - `raw`: the content of `style` or `script`; left at its end tag.
 *
 * Time: linear. Memory: `maxValueCharacters`.
 */

export interface HtmlScanner {
  push(text: string): void;
  end(): void;
}

export interface HtmlVisitor {
  /** `tag` and `name` are in lower case, the value is as it stands there: entities are not decoded. */
  attribute(tag: string, name: string, value: string): void;
  /** The content of a style element. */
  styleSheet(css: string): void;
}

/** Style sheets of newsletters reach 100 KB. Of a longer value, which is mostly a data: URL, the rest is dropped. */
const maxValueCharacters = 262_144;
/** The longest name that matters has 11 characters. */
const maxNameCharacters = 32;

type State =
  | 'text'
  | 'tag-open'
  | 'declaration'
  | 'comment-open'
  | 'comment'
  | 'skipped'
  | 'tag-name'
  | 'attributes'
  | 'name'
  | 'after-name'
  | 'value-begin'
  | 'quoted'
  | 'bare'
  | 'raw';

const condition = '[if';

export function createHtmlScanner(visitor: HtmlVisitor): HtmlScanner {
  let state: State = 'text';
  let tag = '';
  let name = '';
  let value = '';
  let quote = '';
  /** What has been read of a piece of markup that may prove to be another one. */
  let begun = '';
  /** How many dashes stand right before, in a comment. */
  let dashes = 0;

  const keep = (text: string): void => {
    if (value.length < maxValueCharacters) value += text.slice(0, maxValueCharacters - value.length);
  };

  const giveAttribute = (): void => {
    visitor.attribute(tag.toLowerCase(), name.toLowerCase(), value);
    value = '';
    state = 'attributes';
  };

  const giveStyleSheet = (): void => {
    if (tag.toLowerCase() === 'style') visitor.styleSheet(value);
    value = '';
  };

  const endTag = (): void => {
    const ended = tag.toLowerCase();
    state = ended === 'style' || ended === 'script' ? 'raw' : 'text';
    begun = '';
  };

  /** Each reads on from `at` and returns where the next is to begin: further on, or there in another state. */
  const readers: Readonly<Record<State, (text: string, at: number) => number>> = {
    text(text, at) {
      const open = text.indexOf('<', at);
      if (open < 0) return text.length;
      state = 'tag-open';
      return open + 1;
    },
    'tag-open'(text, at) {
      const next = text[at] as string;
      tag = '';
      begun = '';
      if (next === '!') state = 'declaration';
      else if (next === '?' || next === '/') state = 'skipped';
      else {
        const end = endOfIdleTag(text, at);
        state = end < 0 && isLetter(text.charCodeAt(at)) ? 'tag-name' : 'text';
        return end < 0 ? at : end;
      }
      return at + 1;
    },
    declaration(text, at) {
      if (text[at] !== '-') {
        state = 'skipped';
        return at;
      }
      begun += '-';
      if (begun === '--') {
        begun = '';
        // `<!-->` is a whole comment.
        dashes = 2;
        state = 'comment-open';
      }
      return at + 1;
    },
    'comment-open'(text, at) {
      if (begun === '' && isBlank(text.charCodeAt(at))) {
        dashes = 0;
        return at + 1;
      }
      begun += (text[at] as string).toLowerCase();
      if (begun === condition) state = 'skipped';
      else if (!condition.startsWith(begun)) {
        state = 'comment';
        return at;
      }
      dashes = 0;
      return at + 1;
    },
    comment(text, at) {
      const next = text[at];
      if (next === '-') dashes++;
      else if (next === '>' && dashes >= 2) state = 'text';
      else {
        dashes = 0;
        const dash = text.indexOf('-', at);
        return dash < 0 ? text.length : dash;
      }
      return at + 1;
    },
    skipped(text, at) {
      const close = text.indexOf('>', at);
      if (close < 0) return text.length;
      state = 'text';
      return close + 1;
    },
    'tag-name'(text, at) {
      const end = endOfName(text, at, false);
      tag = longerName(tag, text.slice(at, end));
      if (end < text.length) state = 'attributes';
      return end;
    },
    attributes(text, at) {
      const code = text.charCodeAt(at);
      if (code === greaterThan) endTag();
      else if (!isBlank(code) && code !== slash) {
        name = text[at] as string;
        state = 'name';
      }
      return at + 1;
    },
    name(text, at) {
      const end = endOfName(text, at, true);
      name = longerName(name, text.slice(at, end));
      if (end < text.length) state = 'after-name';
      return end;
    },
    'after-name'(text, at) {
      const code = text.charCodeAt(at);
      if (isBlank(code)) return at + 1;
      state = code === equals ? 'value-begin' : 'attributes';
      return code === equals ? at + 1 : at;
    },
    'value-begin'(text, at) {
      const code = text.charCodeAt(at);
      if (isBlank(code)) return at + 1;
      value = '';
      if (code === doubleQuote || code === singleQuote) {
        quote = text[at] as string;
        state = 'quoted';
        return at + 1;
      }
      state = code === greaterThan ? 'attributes' : 'bare';
      return at;
    },
    quoted(text, at) {
      const end = text.indexOf(quote, at);
      keep(text.slice(at, end < 0 ? text.length : end));
      if (end < 0) return text.length;
      giveAttribute();
      return end + 1;
    },
    bare(text, at) {
      let end = at;
      while (end < text.length && !isBlank(text.charCodeAt(end)) && text.charCodeAt(end) !== greaterThan) end++;
      keep(text.slice(at, end));
      if (end < text.length) giveAttribute();
      return end;
    },
    raw(text, at) {
      if (begun === '') {
        const open = text.indexOf('<', at);
        keep(text.slice(at, open < 0 ? text.length : open));
        if (open < 0) return text.length;
        begun = '<';
        return open + 1;
      }
      const wanted = `</${tag.toLowerCase()}`;
      const longer = begun + text[at];
      if (!wanted.startsWith(longer.toLowerCase())) {
        keep(begun);
        begun = '';
        return at;
      }
      begun = longer;
      if (longer.length === wanted.length) {
        giveStyleSheet();
        state = 'skipped';
      }
      return at + 1;
    },
  };

  return {
    push(text) {
      for (let at = 0; at < text.length; ) at = readers[state](text, at);
    },
    end() {
      // A mail may be cut off in the middle of a tag.
      if (state === 'quoted' || state === 'bare') giveAttribute();
      else if (state === 'raw') giveStyleSheet();
    },
  };
}

const greaterThan = 62;
const equals = 61;
const slash = 47;
const doubleQuote = 34;
const singleQuote = 39;

/** A whole tag in plain form. Each piece ends where the next cannot begin, so that it takes linear time. */
const plainTag = /[a-z][a-z0-9:]*(?:[ \t-\r]+[a-z][a-z0-9:_-]*(?:=(?:"[^"]*"|'[^']*'|[^ \t-\r"'>]+))?)*[ \t-\r]*\/?>/iy;
/** What a tag has when its attributes may matter. */
const telling = /src|background|poster|o:href|url\(|cid:|^(?:object|image|svg:image|feimage|base|style|script)/i;

/**
 * The end of a tag that shows nothing; negative when it must be read in full. Nine of ten tags are passed over so, which
 * makes reading a newsletter several times as fast and changes nothing else.
 */
function endOfIdleTag(text: string, at: number): number {
  const bareEnd = endOfBareTag(text, at);
  if (bareEnd >= 0) return bareEnd;
  plainTag.lastIndex = at;
  if (!plainTag.test(text)) return -1;
  const end = plainTag.lastIndex;
  return telling.test(text.slice(at, end)) ? -1 : end;
}

/** The end of `<td>`, of which nothing but the content of style and script can matter; negative for any other tag. */
function endOfBareTag(text: string, at: number): number {
  let end = at;
  while (isLetter(text.charCodeAt(end))) end++;
  if (end === at || text.charCodeAt(end) !== greaterThan) return -1;
  const length = end - at;
  const mayBeRaw = (length === 5 || length === 6) && /^(?:style|script)$/i.test(text.slice(at, end));
  return mayBeRaw ? -1 : end + 1;
}

function longerName(name: string, more: string): string {
  return name.length < maxNameCharacters ? name + more.slice(0, maxNameCharacters - name.length) : name;
}

function endOfName(text: string, at: number, equalsEnds: boolean): number {
  let end = at;
  while (end < text.length) {
    const code = text.charCodeAt(end);
    if (isBlank(code) || code === greaterThan || code === slash || (equalsEnds && code === equals)) break;
    end++;
  }
  return end;
}

function isBlank(code: number): boolean {
  return code === 32 || (code >= 9 && code <= 13);
}

function isLetter(code: number): boolean {
  const lower = code | 32;
  return lower >= 97 && lower <= 122;
}
