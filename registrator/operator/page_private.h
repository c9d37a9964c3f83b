/* The shell that the web pages share. */
#pragma once

#include "operator/page.h"

#include <stdio.h>

/* title: anybody's text; heading, more_head: ours. */
void page_begin(FILE *out, const char *title, const char *heading, const char *more_head);
/* The filter box, and the table's head. columns: ends with NULL. */
void page_begin_table(FILE *out, const char *id, const char *const *columns);
void page_end(FILE *out);

/* Names, labels and values come from strangers: escapes what HTML gives a meaning. The text is printable already. NULL
 * is "". */
void page_text(FILE *out, const char *text);
/* A line of the list of facts, unless both texts are empty. */
void page_term(FILE *out, const char *term, const char *text, const char *more);
