/* people/person_uuid_test.c - the uuid that is made of a project and a distinct id. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "people/batch.h"

static void person_uuids(void **state)
{
    static const struct {
        uint32_t project;
        const char *id, *uuid;
    } rows[] = {
        { 1, "alice", "a6e21b41-7154-5e34-ae20-47017c663318" },
        { 1, "bob", "7d15b82a-df57-5ed7-b9e0-6dd1cadab965" },
        { 2, "alice", "20c26c94-d3ad-5703-96d6-27c0878c783e" },
        { 7, "anon-1", "93748eb4-66d1-568d-bdd9-a43f676ba2fa" },
        { 8, "anon-1", "620a57df-2f0f-538e-89ec-fc7d4644617b" }, /* vector D02 */
        { 7, "user-1", "b8607302-7c03-520a-b899-8d6577b7ac74" },
        { 42, "x", "51c123c4-0502-526f-9a75-b405231203cd" },
        { 1, "\xe5\x90\x8d\xe5\x89\x8d", "341a78f8-8a67-5043-867c-08d5009d2036" },
    };
    char text[UUID_TEXT_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct uuid uuid = people_person_uuid(rows[i].project, span_text(rows[i].id));

        uuid_format(&uuid, text);
        assert_memory_equal(text, rows[i].uuid, UUID_TEXT_BYTES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(person_uuids),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
