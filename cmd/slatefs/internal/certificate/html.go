package certificate

import (
	"fmt"
	"html"
	"strings"
)

const doctype = "<!DOCTYPE html>\n"

// pageBounds keep the page on one sheet of A4 or Letter. The signed JSON in it has everything.
var pageBounds = bounds{left: 5, of: 2, media: 1, records: 3, reasons: 3}

// maxCell bounds a value on the page, in bytes; a longer one ends in an ellipsis.
const maxCell = 120

const style = `@page{size:auto;margin:10mm}
*{box-sizing:border-box}
body{font:7.6pt/1.22 "DejaVu Sans",Arial,Helvetica,sans-serif;color:#111;margin:0 auto;max-width:188mm}
h1{font-size:15pt;letter-spacing:.06em;margin:0;text-align:center}
.under{text-align:center;margin:1mm 0 2mm;font-size:7.6pt}
.verdict{border:1.5px solid #111;padding:1.2mm 2.4mm;margin:0 0 2mm;font-weight:bold;overflow-wrap:anywhere}
.verdict p{margin:0}.no{background:#f3dede;border-color:#8a1f1f}.yes{background:#e2f0e2;border-color:#1f5f2a}
main{columns:2;column-gap:3mm}
section{break-inside:avoid;border:1px solid #777;margin:0 0 1.6mm}
section.wide{column-span:all;margin-top:2mm}
h2{font-size:7.4pt;letter-spacing:.05em;background:#e4e7ea;border-bottom:1px solid #777;margin:0;padding:.5mm 2mm}
table{border-collapse:collapse;width:100%}
td{vertical-align:top;padding:.25mm 2mm;overflow-wrap:anywhere;border-top:1px solid #ddd}
tr:first-child td{border-top:0}
td:first-child{width:36%;color:#444}.wide td:first-child{width:9%}
.note{margin:0;padding:.5mm 2mm;font-size:6.3pt;color:#333;border-top:1px solid #ddd}
.sign{display:flex;gap:4mm;padding:5mm 2mm 1mm}.sign span{border-top:1px solid #111;flex:2;font-size:6.6pt}.sign span+span{flex:1}
`

// HTML is a page that prints on one sheet: no script, nothing from elsewhere. The signed JSON lies in it, unseen.
func (s *Signed) HTML() []byte {
	sh := s.sheet(pageBounds)
	var b strings.Builder
	text := html.EscapeString
	fmt.Fprintf(&b, doctype+`<html lang="en"><head><meta charset="utf-8"><title>%s %v</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
%s</style></head><body>
<h1>%s</h1>
<p class="under">%s</p>
`, text(sh.title), s.Document.ID, style, text(sh.title), text(sh.under))
	class := "no"
	if sh.complete {
		class = "yes"
	}
	fmt.Fprintf(&b, "<div class=\"verdict %s\">", class)
	for _, v := range sh.verdict {
		fmt.Fprintf(&b, "<p>%s</p>", text(shortened(v, maxCell)))
	}
	b.WriteString("</div>\n<main>\n")
	for _, sec := range sh.sections {
		sec.html(&b)
	}
	fmt.Fprintf(&b, "</main>\n<pre hidden>\n%s</pre>\n</body></html>\n", s.block())
	return []byte(b.String())
}

func (sec section) html(b *strings.Builder) {
	text, class, most := html.EscapeString, "", maxCell
	if sec.wide {
		class, most = ` class="wide"`, 2*maxCell
	}
	fmt.Fprintf(b, "<section%s><h2>%s</h2>\n", class, text(sec.title))
	if len(sec.rows) > 0 {
		b.WriteString("<table>\n")
		for _, r := range sec.rows {
			value := "&nbsp;"
			if r.value != "" {
				value = text(shortened(r.value, most))
			}
			fmt.Fprintf(b, "<tr><td>%s</td><td>%s</td></tr>\n", text(r.name), value)
		}
		b.WriteString("</table>\n")
	}
	if sec.note != "" {
		fmt.Fprintf(b, "<p class=\"note\">%s</p>\n", text(sec.note))
	}
	if sec.sign {
		b.WriteString("<div class=\"sign\"><span>Signature</span><span>Date</span></div>\n")
	}
	b.WriteString("</section>\n")
}

// shortened cuts a text between two characters.
func shortened(s string, most int) string {
	if len(s) <= most {
		return s
	}
	n := most
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}
