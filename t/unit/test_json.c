/* JSON files of the store, and what commands write of site.json. */

#include "clean.h"

#include "ecert_backups.h"
#include "ecert_json.h"
#include "ecert_site_edit.h"
#include "ecert_store.h"

#define NOW INT64_C(1795392000) /* 2026-11-23T00:00:00Z */

static ecert_err_t err;

/* ---- reading and writing ----------------------------------------------- */

static void assert_broken(const char *text, const char *what)
{
    put("f", text);
    assert_null(ecert_json_read(at("f"), &err));
    assert_err(&err, ECERT_ERR_SITE);
    assert_string_equal(err.file, at("f"));
    if (strstr(err.detail, what) == NULL) {
        fail_msg("%s: \"%s\"", text, err.detail);
    }
}

static void test_broken(void **state)
{
    (void)state;
    assert_broken("{\"a\": 1,}", "line 1, column 9");
    assert_broken("{\n  \"a\": [1\n", "line 3");
    assert_broken("{\"a\": 1, \"a\": 2}", "duplicate");
    assert_broken("{\"a\": \"\xff\"}", "line 1");
    assert_broken("{\"a\": 1} x", "line 1");
    assert_broken("[1]", "not a JSON object");
    assert_broken("\"a\"", "not a JSON object");
    assert_broken("null", "not a JSON object");
    assert_broken(" ", "line 1");
    put("f", "");
    assert_null(ecert_json_read(at("f"), &err));
    assert_err(&err, ECERT_ERR_EMPTY);
    assert_null(ecert_json_read(at("none"), &err));
    assert_err(&err, ECERT_ERR_MISSING);
    folders("d");
    assert_null(ecert_json_read(at("d"), &err));
    assert_err(&err, ECERT_ERR_NOT_FILE);
    put("f", "{}");
    chmod(at("f"), 0666);
    assert_null(ecert_json_read_or_new(at("f"), &err));
    assert_err(&err, ECERT_ERR_UNSAFE);
}

/* What is written on a terminal must not obey the file. */
static void test_broken_is_escaped(void **state)
{
    (void)state;
    put("f", "{\"a\": x\x1b[31m}");
    assert_null(ecert_json_read(at("f"), &err));
    assert_null(strchr(err.detail, '\x1b'));
}

static void test_mark_and_new(void **state)
{
    json_t *json;

    (void)state;
    put("f", "\xef\xbb\xbf{\"a\": \"b\"}\r\n");
    json = ecert_json_read(at("f"), &err);
    assert_non_null(json);
    assert_string_equal(ecert_json_text(json, "a"), "b");
    json_decref(json);
    json = ecert_json_read_or_new(at("none"), &err);
    assert_true(json_is_object(json));
    assert_int_equal(json_object_size(json), 0);
    json_decref(json);
}

static void test_write(void **state)
{
    json_t *json = json_object();

    (void)state;
    umask(0);
    ecert_json_set_text(json, "z", "1");
    ecert_json_set_text(json, "a", "\xe4\xb8\xad\xe5\x9b\xbd");
    assert_int_equal(ecert_json_write(at("f"), json, 0600, &err), 0);
    assert_int_equal(mode_of("f"), 0600);
    assert_holds("f", "{\n  \"z\": \"1\",\n"
                      "  \"a\": \"\xe4\xb8\xad\xe5\x9b\xbd\"\n}\n");
    assert_int_equal(ecert_json_write(at("no/f"), json, 0600, &err), -1);
    assert_err(&err, ECERT_ERR_MISSING);
    assert_int_equal(ecert_json_write(at("f"), NULL, 0600, &err), -1);
    assert_err(&err, ECERT_ERR_MEMORY);
    assert_int_equal(entries(""), 1);
    json_decref(json);
}

static void test_members(void **state)
{
    json_t *json = json_object();

    (void)state;
    ecert_json_set_text(json, "text", NULL);
    ecert_json_set_date(json, "date", 0);
    assert_int_equal(json_object_size(json), 0);
    ecert_json_set_text(json, "path", "/a/\xff\x01");
    assert_string_equal(ecert_json_text(json, "path"), "/a/\\xff\\x01");
    ecert_json_set_date(json, "date", NOW);
    assert_string_equal(ecert_json_text(json, "date"), "2026-11-23T00:00:00Z");
    assert_int_equal(ecert_json_date(json, "date"), NOW);
    ecert_json_set_text(json, "date", "yesterday");
    assert_int_equal(ecert_json_date(json, "date"), 0);
    assert_int_equal(ecert_json_date(json, "none"), 0);
    json_object_set_new(json, "nul", json_stringn("a\0b", 3));
    assert_null(ecert_json_text(json, "nul"));
    json_object_set_new(json, "number", json_integer(1));
    assert_null(ecert_json_text(json, "number"));
    assert_int_equal(ecert_json_flag(json, "number", 7), 7);
    assert_int_equal(ecert_json_flag(json, "none", 1), 1);
    json_object_set_new(json, "no", json_false());
    assert_int_equal(ecert_json_flag(json, "no", 1), 0);
    assert_null(ecert_json_text(NULL, "a"));
    assert_int_equal(ecert_json_date(NULL, "a"), 0);
    assert_int_equal(ecert_json_flag(NULL, "a", 1), 1);
    json_decref(json);
}

static void assert_no_names(const char *text)
{
    json_t *json =
        ecert_json_parse((const unsigned char *)text, strlen(text), "/f", &err);
    char **names;
    size_t n;

    assert_non_null(json);
    assert_int_equal(ecert_json_names(json, "names", "/f", &names, &n, &err),
                     -1);
    assert_err(&err, ECERT_ERR_SITE);
    assert_string_equal(err.file, "/f");
    assert_non_null(strstr(err.detail, "\"names\""));
    assert_null(names);
    assert_int_equal(n, 0);
    json_decref(json);
}

static void test_names(void **state)
{
    char *texts[] = {"a.hk", "b.hk"}, *bad[] = {"a.hk", "\xff"};
    json_t *json = json_object();
    char **names;
    size_t n;

    (void)state;
    assert_int_equal(ecert_json_names(json, "names", "/f", &names, &n, &err),
                     0);
    assert_int_equal(n, 0);
    ecert_names_free(names, n);
    json_object_set_new(json, "names", ecert_json_texts(texts, 2));
    assert_int_equal(ecert_json_names(json, "names", "/f", &names, &n, &err),
                     0);
    assert_int_equal(n, 2);
    assert_string_equal(names[1], "b.hk");
    ecert_names_free(names, n);
    json_decref(json);
    assert_null(ecert_json_texts(bad, 2));
    json = ecert_json_texts(NULL, 0);
    assert_int_equal(json_array_size(json), 0);
    json_decref(json);
    assert_no_names("{\"names\": \"a.hk\"}");
    assert_no_names("{\"names\": {\"a.hk\": 1}}");
    assert_no_names("{\"names\": [\"a.hk\", 1]}");
    assert_no_names("{\"names\": [\"a.hk\", \"b\\u0000c\"]}");
    assert_no_names("{\"names\": null}");
}

/* ---- site.json --------------------------------------------------------- */

static void test_site_write(void **state)
{
    char *names[] = {"a.hk", "b.hk", "c.hk"};
    json_t *more = json_pack("{s:{s:s},s:[s]}", "subject", "country", "HK",
                             "names", "evil.hk");

    (void)state;
    folders("s");
    assert_int_equal(ecert_site_write(at("s"), names, 1, NULL, &err), 0);
    assert_false(is_there("s/site.json")); /* nothing to say */
    put("s/site.json", "{\"mine\": [1, {\"x\": null}], \"names\": [\"z.hk\"],"
                       " \"policy\": {\"cross_certificate\": \"on\"}}");
    assert_int_equal(ecert_site_write(at("s"), names, 3, more, &err), 0);
    assert_holds("s/site.json", "{\n"
                                "  \"mine\": [\n"
                                "    1,\n"
                                "    {\n"
                                "      \"x\": null\n"
                                "    }\n"
                                "  ],\n"
                                "  \"names\": [\n"
                                "    \"b.hk\",\n"
                                "    \"c.hk\"\n"
                                "  ],\n"
                                "  \"policy\": {\n"
                                "    \"cross_certificate\": \"on\"\n"
                                "  },\n"
                                "  \"subject\": {\n"
                                "    \"country\": \"HK\"\n"
                                "  }\n"
                                "}\n");
    assert_int_equal(mode_of("s/site.json"), 0600);
    assert_int_equal(json_object_size(more), 2);
    json_decref(more);
}

static void test_site_unchanged(void **state)
{
    static const char text[] = "{\"names\":[\"b.hk\"],\"x\":1}";
    char *names[] = {"a.hk", "b.hk"};
    json_t *more = json_pack("{s:i,s:[s]}", "x", 1, "names", "evil.hk"), *json;
    struct stat before, after;

    (void)state;
    folders("s");
    put("s/site.json", text);
    assert_int_equal(stat(at("s/site.json"), &before), 0);
    assert_int_equal(ecert_site_write(at("s"), names, 2, more, &err), 0);
    assert_int_equal(ecert_site_write(at("s"), NULL, 0, more, &err), 0);
    assert_int_equal(ecert_site_write(at("s"), NULL, 0, NULL, &err), 0);
    assert_int_equal(stat(at("s/site.json"), &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_holds("s/site.json", text);
    assert_int_equal(ecert_site_write(at("s"), names, 1, NULL, &err), 0);
    json = ecert_site_read(at("s"), &err);
    assert_int_equal(json_array_size(json_object_get(json, "names")), 0);
    assert_true(json_is_array(json_object_get(json, "names")));
    json_decref(json);
    json_decref(more);
}

static void test_site_broken(void **state)
{
    char *names[] = {"a.hk", "b.hk"};

    (void)state;
    folders("s");
    put("s/site.json", "{\"names\": [");
    assert_null(ecert_site_read(at("s"), &err));
    assert_err(&err, ECERT_ERR_SITE);
    assert_int_equal(ecert_site_write(at("s"), names, 2, NULL, &err), -1);
    assert_err(&err, ECERT_ERR_SITE);
    assert_holds("s/site.json", "{\"names\": [");
    assert_int_equal(ecert_site_write(at("none"), names, 2, NULL, &err), -1);
    assert_err(&err, ECERT_ERR_MISSING);
    assert_int_equal(ecert_site_write(too_long_path(), names, 2, NULL, &err),
                     -1);
    assert_int_equal(err.sys, ENAMETOOLONG);
}

static void test_site_folder(void **state)
{
    char path[PATH_MAX];

    (void)state;
    umask(0);
    assert_int_equal(ecert_site_folder(at("store"), "*.a.hk", path, &err), 0);
    assert_string_equal(path, at("store/sites/_.a.hk"));
    assert_int_equal(mode_of("store/sites/_.a.hk"), 0700);
    assert_true(is_there("store/issuers"));
    assert_int_equal(ecert_site_folder(at("store"), "*.a.hk", path, &err), 0);
    folders("store/sites/B.HK");
    assert_int_equal(ecert_site_folder(at("store"), "b.hk", path, &err), 0);
    assert_string_equal(path, at("store/sites/B.HK"));
    assert_int_equal(entries("store/sites"), 2);
    put("store/sites/c.hk", "a file");
    assert_int_equal(ecert_site_folder(at("store"), "c.hk", path, &err), -1);
    assert_err(&err, ECERT_ERR_SYSTEM);
    assert_int_equal(ecert_site_folder(at("no/store"), "a.hk", path, &err), -1);
    assert_err(&err, ECERT_ERR_MISSING);
}

/* ---- backups.json ------------------------------------------------------ */

static int64_t last(const char *site_dir, const char *key_id,
                    const char *certificate)
{
    ecert_err_t err;
    int64_t when;

    assert_int_equal(
        ecert_backups_last(site_dir, key_id, certificate, &when, &err), 0);
    return when;
}

static void add_backup(const char *key_id, const char *certificate, int64_t now)
{
    ecert_backup_t backup = {key_id, certificate, "/b/a.pfx", "windows"};

    assert_int_equal(ecert_backups_add(at("s"), &backup, now, &err), 0);
}

static void test_backups(void **state)
{
    (void)state;
    folders("s");
    assert_int_equal(last(at("s"), "k1", NULL), 0);
    add_backup("k1", NULL, NOW);
    add_backup("k1", "C1", NOW + 20);
    add_backup("k1", "C2", NOW + 10);
    add_backup("k2", NULL, NOW + 30);
    assert_int_equal(mode_of("s/backups.json"), 0600);
    assert_int_equal(last(at("s"), "k1", NULL), NOW + 20);
    assert_int_equal(last(at("s"), "k1", "C1"), NOW + 20);
    assert_int_equal(last(at("s"), "k1", "C2"), NOW + 10);
    assert_int_equal(last(at("s"), "k1", "C3"), 0);
    assert_int_equal(last(at("s"), "k2", "C1"), 0);
    assert_int_equal(last(at("s"), "k3", NULL), 0);
}

static void assert_kept(const char *text, ecert_code_t code)
{
    ecert_backup_t backup = {"k1", NULL, NULL, NULL};

    put("s/backups.json", text);
    assert_int_equal(ecert_backups_add(at("s"), &backup, NOW, &err), -1);
    assert_err(&err, code);
    assert_holds("s/backups.json", text);
    assert_int_equal(last(at("s"), "k1", NULL), 0);
}

static void test_backups_broken(void **state)
{
    int64_t when;
    ecert_backup_t backup = {"k1", NULL, "/b/\xff.pfx", NULL};
    json_t *json;

    (void)state;
    folders("s");
    assert_kept("{\"backups\": [", ECERT_ERR_SITE);
    assert_kept("{\"backups\": {\"x\": 1}}", ECERT_ERR_SITE);
    assert_kept("[]", ECERT_ERR_SITE);
    put("s/backups.json", "{\"mine\": 1, \"backups\": [7, {\"time\": 3}]}");
    assert_int_equal(ecert_backups_add(at("s"), &backup, NOW, &err), 0);
    assert_int_equal(last(at("s"), "k1", NULL), NOW);
    json = ecert_json_read(at("s/backups.json"), &err);
    assert_int_equal(json_array_size(json_object_get(json, "backups")), 3);
    assert_non_null(json_object_get(json, "mine"));
    assert_string_equal(
        ecert_json_text(json_array_get(json_object_get(json, "backups"), 2),
                        "file"),
        "/b/\\xff.pfx");
    json_decref(json);
    assert_int_equal(ecert_backups_add(at("none"), &backup, NOW, &err), -1);
    assert_err(&err, ECERT_ERR_MISSING);
    assert_int_equal(
        ecert_backups_last(too_long_path(), "k1", NULL, &when, &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLEAN(test_broken),       CLEAN(test_broken_is_escaped),
        CLEAN(test_mark_and_new), CLEAN(test_write),
        CLEAN(test_members),      CLEAN(test_names),
        CLEAN(test_site_write),   CLEAN(test_site_unchanged),
        CLEAN(test_site_broken),  CLEAN(test_site_folder),
        CLEAN(test_backups),      CLEAN(test_backups_broken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
