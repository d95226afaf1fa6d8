/* A program without a C library that dies of SIGSEGV at once. */
void _start(void)
{
	*(volatile int *)16 = 1;
}
