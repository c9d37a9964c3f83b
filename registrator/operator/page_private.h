/* The frame that both web pages share. */
#pragma once

#include "operator/page.h"

#include <stdio.h>

/* title may contain any text; heading and more_head are HTML of this program. */
void page_begin(FILE *out, const char *title, const char *heading, const char *more_head);
/* Writes the filter box and the table's head. columns ends with NULL. */
void page_begin_table(FILE *out, const char *id, const char *const *columns);
void page_end(FILE *out);

/* Writes text with HTML's special characters escaped: anybody can write names, labels and values. text must be
 * printable. NULL counts as "". */
void page_text(FILE *out, const char *text);
/* Writes a line of the list of facts, unless both texts are empty. */
void page_term(FILE *out, const char *term, const char *text, const char *more);
