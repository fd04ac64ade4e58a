/* warehouse/text_checked.h - texts that were checked before the engine gets them are not looked through by it again.
 *
 * For its statistics the engine asks of every text whether it is UTF-8 and more than ASCII: when a row is appended, and again when its row
 * group is compressed, byte by byte, until the first text of the row group that is more. It asks one exported function, and one of that name in
 * the program comes first for the dynamic linker, as with zstd_level.h. So this module has it: on a thread that says its texts are checked a long text
 * is answered for without a look, as one that may be more than ASCII, which is what the statistics say of any text that is not known better.
 * All else goes to the engine's own. Where the engine should one day bind it otherwise, it looks again, and nothing else changes.
 *
 * Short texts are looked at as ever: what the statistics say of names and ids makes queries quicker. */
#ifndef PENSTOCK_WAREHOUSE_TEXT_CHECKED_H
#define PENSTOCK_WAREHOUSE_TEXT_CHECKED_H

#include <stddef.h>

enum { TEXT_CHECKED_BYTES_MIN = 256 };

/* duckdb::Utf8Proc::Analyze() in C++'s spelling; CMakeLists.txt exports it. Gives a duckdb::UnicodeType. */
#define TEXT_ANALYZE_SYMBOL "_ZN6duckdb8Utf8Proc7AnalyzeEPKcmPNS_20UnicodeInvalidReasonEPm"
int text_analyze(const char *text, size_t bytes, void *reason_out, size_t *place_out) __asm__(TEXT_ANALYZE_SYMBOL);

/* Once, with the library that was opened and before it is used: where the engine's own function is. */
void text_checked_use(void *library);

/* Between these the engine works, on this thread, on nothing but texts that were checked. Not nested. @thread any: each for itself */
void text_checked_begin(void);
void text_checked_end(void);

#endif
