# SPDX-License-Identifier: Apache-2.0
# cmake -DINPUT=page.html -DOUTPUT=page.c -P embed.cmake
# Turns the status page into a C array and a Content-Security-Policy that allows exactly its one
# <style> and one <script>. Nothing but CMake is needed on the build host.
cmake_minimum_required(VERSION 3.25)

# What CSP wants is the digest in base64; CMake gives hexadecimal.
function(base64_of_hex hex result)
	set(alphabet "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
	string(LENGTH "${hex}" length)
	set(text "")
	set(at 0)
	while(at LESS length)
		string(SUBSTRING "${hex}" ${at} 6 group)
		string(LENGTH "${group}" digits)
		string(SUBSTRING "${group}0000" 0 6 padded)
		foreach(shift IN ITEMS 18 12 6 0)
			math(EXPR index "(0x${padded} >> ${shift}) & 63")
			string(SUBSTRING "${alphabet}" ${index} 1 letter)
			string(APPEND text "${letter}")
		endforeach()
		if(digits LESS 6)
			# Two hex digits too few for each '=' at the end.
			math(EXPR missing "(6 - ${digits}) / 2")
			string(LENGTH "${text}" text_length)
			math(EXPR keep "${text_length} - ${missing}")
			string(SUBSTRING "${text}" 0 ${keep} text)
			string(REPEAT "=" ${missing} padding)
			string(APPEND text "${padding}")
		endif()
		math(EXPR at "${at} + 6")
	endwhile()
	set(${result} "${text}" PARENT_SCOPE)
endfunction()

function(csp_hash page tag result)
	string(FIND "${page}" "<${tag}>" begin)
	string(FIND "${page}" "</${tag}>" end)
	string(FIND "${page}" "<${tag}>" last REVERSE)
	if(begin LESS 0 OR end LESS begin OR NOT last EQUAL begin)
		message(FATAL_ERROR "${INPUT}: expected exactly one <${tag}>")
	endif()
	string(LENGTH "<${tag}>" length)
	math(EXPR begin "${begin} + ${length}")
	math(EXPR length "${end} - ${begin}")
	string(SUBSTRING "${page}" ${begin} ${length} content)
	string(SHA256 hex "${content}")
	base64_of_hex("${hex}" hash)
	set(${result} "'sha256-${hash}'" PARENT_SCOPE)
endfunction()

file(READ "${INPUT}" page)
csp_hash("${page}" style style)
csp_hash("${page}" script script)
file(READ "${INPUT}" hex HEX)
string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
file(WRITE "${OUTPUT}" "/* Made from page.html by embed.cmake. */
#include \"show/page.h\"

const unsigned char page_html[] = {
${bytes}
};
const size_t page_html_len = sizeof(page_html);
const char page_csp[] =
	\"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \"
	\"connect-src 'self'; img-src data:; style-src ${style}; script-src ${script}\";
")
