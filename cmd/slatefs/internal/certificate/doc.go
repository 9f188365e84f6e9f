// Package certificate is the document that says what was erased: what stands in it (document.go), how it is signed and read
// again (seal.go, read.go), what it looks like as text and as a page (sheet.go, text.go, html.go), and what must hold in one that
// is shown to somebody (verify.go). It knows no pool, no daemon and no command: who makes one collects the facts. What holds here:
//
//   - What is signed is bytes: the JSON of the document, in one line. Nothing that follows from it is signed beside it: text and
//     page are made of the signed JSON, carry it, and who reads one makes it again and compares. So a changed bit is seen
//     wherever it is, in what people read too.
//   - A document is one thing in one way: what is read is encoded again, and refused when the bytes are others.
//   - Every string in a document is escaped as internal/show does, so that all three forms show the same and none can end a line,
//     move a cursor or be markup. The bytes of names are in the rows of the records.
//   - Complete is no opinion: it is false as long as a part is left or a reason is named, and who reads checks that.
//   - The form of a document never changes: another layout is another number, and golden files keep the old ones.
//
// What is read may be hostile: it is bounded before it sizes anything, and nothing in it is run, opened or asked.
package certificate
