/* Builds what a catalog needs in a test: templates, rules of one layout, and a sink that ignores every call. A
 * fuzzer includes fuzz.h first, whose ENSURE() then replaces cmocka's assertions. */
#pragma once

#include "catalog/catalog.h"
#include "settings/settings.h"

#include <stdio.h>
#include <stdlib.h>

#ifndef ENSURE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#define ENSURE(condition) assert_true(condition)
#endif

/* The caller owns the template. */
__attribute__((unused)) static Template *compiled(const char *text)
{
    CLEANUP_FREE char *error = NULL;
    Template *template = NULL;
    int r = template_compile(&template, text, &error);

    if (r < 0)
        (void)fprintf(stderr, "'%s': %s\n", text, error ? error : "out of memory");
    ENSURE(r == 0);
    return template;
}

/* The default layout with these templates and the service "servers". layout_clear() frees the templates. */
__attribute__((unused)) static void layout_build(Layout *ret, const char *key, const char *value)
{
    *ret = (Layout){
        .name = LAYOUT_DEFAULT, .key = compiled(key), .value = compiled(value), .service = compiled("servers")
    };
}

/* Rules of one host, "n" at 192.0.2.1, with the default layout of the program. The rules refer to the layout. */
__attribute__((unused)) static Rules rules_build(Layout *ret_layout)
{
    layout_build(ret_layout, "/app/{service}/{name}", "{address}:{port}");
    return (Rules){ .layouts = ret_layout, .n_layouts = 1, .node = "n", .address4 = "192.0.2.1" };
}

static void ignore_want(void *userdata, const CatalogEntry *entry, const char *key, const char *value)
{
    (void)userdata;
    (void)entry;
    (void)key;
    (void)value;
}

static void ignore_unwant(void *userdata, const CatalogEntry *entry, const char *key, const char *after)
{
    (void)userdata;
    (void)entry;
    (void)key;
    (void)after;
}

static void ignore_text(void *userdata, const CatalogEntry *entry, const char *text)
{
    (void)userdata;
    (void)entry;
    (void)text;
}

static void ignore_entry(void *userdata, const CatalogEntry *entry)
{
    (void)userdata;
    (void)entry;
}

static bool inherits_nothing(void *userdata, const char *key, const char *value)
{
    (void)userdata;
    (void)key;
    (void)value;
    return false;
}

/* A test replaces the calls that it checks. */
__attribute__((unused)) static CatalogSink sink_build(void *userdata)
{
    return (CatalogSink){ .want = ignore_want,
                          .unwant = ignore_unwant,
                          .duplicate = ignore_text,
                          .left_out = ignore_text,
                          .outlived = ignore_entry,
                          .inherits = inherits_nothing,
                          .userdata = userdata };
}
