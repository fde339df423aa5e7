// Typed text to tokens and back: tokens are those of NLTK's word_tokenize, which cut the speeches.
"use strict";

// Penn Treebank's way: punctuation and endings such as n't are tokens; " is `` before a word and
// '' after it; a full stop is one where the word without it is known, so that Mr. stays whole.
function tokenize(text, known) {
  const cut = text
    .replace(/(^|[\s([{<])"/g, "$1 `` ").replace(/"/g, " '' ")
    .replace(/--+|\.\.\.|[;@#$%&?!()[\]{}<>“”‘’]/g, " $& ")
    .replace(/[,:](?!\d)/g, " $& ")
    .replace(/(?:n't|'(?:s|m|d|ll|re|ve)|(?<!')')(?=\.?(?:\s|$))/gi, " $&")
    .replace(/\b(can)(not)\b/gi, "$1 $2");
  return cut.split(/\s+/).filter(Boolean).flatMap((word) => {
    const [, stem] = word.match(/^([^.]+)\.$/) || [];
    return stem && (known(stem) || !known(word)) ? [stem, "."] : [word];
  });
}

// Tokens as people write them: of each the space before it, or "", and the token.
function spaced(tokens) {
  return tokens.map((token, i) => {
    const before = tokens[i - 1] || "";
    const joined = i === 0 || /^(?:[.,;:?!)\]}%’”]|''|n't|'(?:s|m|d|ll|re|ve))$/i.test(token) ||
      /^(?:[([{$#‘“]|``)$/.test(before) ||
      (before === "’" && /^(?:s|t|m|d|ll|re|ve)$/i.test(token));
    return [joined ? "" : " ", { "``": "“", "''": "”" }[token] || token];
  });
}
